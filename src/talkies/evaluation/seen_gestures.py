"""Which gestures a head makes, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import FaceTrack
from talkies.evaluation.head_motion import of_track
from talkies.evaluation.networks.head_gestures import NAMES, load_head_gestures

#: A gesture is seen when it is likelier than all else for so many frames on end.
_FRAMES = 9


@dataclass(frozen=True)
class SeenGesture:
    """A gesture, and the frames from `first` to `last` in which it is seen."""

    name: str
    first: int
    last: int


def gestures_of(face: FaceTrack) -> list[SeenGesture]:
    """Gestures of the head of a face that was followed through a video."""
    import torch

    with torch.inference_mode():
        logits = load_head_gestures()(torch.from_numpy(of_track(face))[None])[0]
    return find_gestures(logits.softmax(-1).numpy())


def find_gestures(probabilities: NDArray[np.floating]) -> list[SeenGesture]:
    """Stretches of `[F, 5]`, column 0 for no gesture, in order of time."""
    best = probabilities.argmax(1)
    borders = np.flatnonzero(np.diff(best)) + 1
    starts, stops = [0, *borders.tolist()], [*borders.tolist(), len(best)]
    return [
        SeenGesture(NAMES[int(best[a]) - 1], a, b - 1)
        for a, b in zip(starts, stops, strict=True)
        if best[a] and b - a >= _FRAMES
    ]
