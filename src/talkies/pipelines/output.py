"""What the pipelines return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from numpy.typing import NDArray


@dataclass
class MultiTalkPipelineOutput(BaseOutput):
    """A finished video.

    Attributes:
        frames: Per sample: with ``output_type`` "pil" a list of lists of pictures, "np" ``[B, F, H, W, 3]`` in [0, 1],
            "pt" ``[B, F, 3, H, W]`` in [0, 1], "latent" a list with the latents of every segment.
    """

    frames: Any


@dataclass(frozen=True, eq=False)
class SegmentFrames:
    """The frames one finished segment adds to the video.

    Attributes:
        index: Number of the segment, from 0.
        segments: How many there are in all.
        start: Video frame of the first.
        frames: ``[B, F, H, W, 3]`` uint8.
    """

    index: int
    segments: int
    start: int
    frames: NDArray[np.uint8]


@dataclass(frozen=True)
class Progress:
    """How far a run is, after every denoising step.

    Attributes:
        segment, segments: Number of the segment, from 0, and how many there are.
        step, steps: Number of the step within the segment, from 0, and how many it has.
        done, total: Steps done in the whole run and how many it takes, weighted by nothing.
    """

    segment: int
    segments: int
    step: int
    steps: int
    done: int
    total: int
