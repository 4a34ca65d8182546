"""Which gestures heads and arms make, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation import body_regions
from talkies.evaluation.faces import Blocks, FaceTrack
from talkies.evaluation.head_motion import of_track
from talkies.evaluation.networks import arm_gestures, head_gestures

#: A gesture is seen when it is likelier than all else for so many frames on end.
_FRAMES = 9
#: Frames whose pictures are looked at together.
_BLOCK = 256


@dataclass(frozen=True)
class SeenGesture:
    """A gesture, and the frames from `first` to `last` in which it is seen."""

    name: str
    first: int
    last: int


def head_gestures_of(face: FaceTrack) -> list[SeenGesture]:
    """Gestures of the head of a face that was followed through a video."""
    import torch

    with torch.inference_mode():
        logits = head_gestures.load_head_gestures()(torch.from_numpy(of_track(face))[None])[0]
    return find_gestures(logits.softmax(-1).numpy(), head_gestures.NAMES)


def arm_gestures_of(video: Blocks, faces: Sequence[FaceTrack]) -> list[list[SeenGesture]]:
    """Gestures of the arms of everybody whose face was followed through a video."""
    bodies = body_regions.of_video(video, faces)
    return [find_gestures(arm_probabilities(body), arm_gestures.NAMES) for body in bodies]


def arm_probabilities(body: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How likely each arm gesture is in every frame of `body_regions.cut_bodies` `[F, 48, 48, 4]`: `[F, 7]`."""
    import torch

    network, rest = arm_gestures.load_arm_gestures(), arm_gestures.REST
    parts = []
    with torch.inference_mode():
        for start in range(0, len(body), _BLOCK):  # long videos in constant memory: rest and the frame before go along
            before = [*range(rest), start - 1] if start else []
            block = torch.from_numpy(np.concatenate([body[before], body[start : start + _BLOCK]]))
            parts.append(network.of_frames(arm_gestures.body_motion(block[None])[0, len(before) :]))
        return np.asarray(network.over_time(torch.cat(parts)[None])[0].softmax(-1).numpy())


def find_gestures(probabilities: NDArray[np.floating], names: Sequence[str]) -> list[SeenGesture]:
    """Stretches of `[F, 1 + N]`, column 0 for no gesture, the others for the N `names`, in order of time."""
    best = probabilities.argmax(1)
    borders = np.flatnonzero(np.diff(best)) + 1
    starts, stops = [0, *borders.tolist()], [*borders.tolist(), len(best)]
    return [
        SeenGesture(names[int(best[a]) - 1], a, b - 1)
        for a, b in zip(starts, stops, strict=True)
        if best[a] and b - a >= _FRAMES
    ]
