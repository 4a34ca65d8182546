"""What is drawn by chance in a run: from its seed, so the same on every device, and in a run that was resumed.

With the same seed another picture's people do something else, and so does everybody in a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Seeds = list[list[int]]


def picture_seeds(generators: Sequence[torch.Generator], reference: Tensor) -> Seeds:
    """What tells the chance of every picture of a batch from all others'.

    Args:
        generators: The run's, one or one for each sample; their state is left alone.
        reference: Pictures, `[B, 3, H, W]` in [-1, 1].
    """
    own = len(generators) == len(reference)
    pictures = ((reference + 1) * 127.5).round().byte().cpu().numpy()
    return [
        [generators[k if own else 0].initial_seed(), 0 if own else k, zlib.crc32(picture.tobytes())]
        for k, picture in enumerate(pictures)
    ]


def chance_of(mark: int, seed: Sequence[int], person: int) -> np.random.Generator:
    """One person's chance; `mark` tells what is drawn from what else is."""
    return np.random.default_rng([mark, *seed, person])
