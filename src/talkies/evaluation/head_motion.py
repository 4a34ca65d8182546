"""How a head moves, in seven numbers a frame, from points of its face: what gestures of the head are told by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import FaceTrack

Array = NDArray[np.float32]

FEATURES = ("across", "down", "size", "breadth", "turn", "bow", "tilt")
#: Columns that change their sign in a mirror.
MIRRORED = ("across", "turn", "tilt")
#: How much each moves in a lively head, roughly.
_SPREAD = np.array([0.12, 0.08, 0.05, 0.05, 0.12, 0.08, 0.06], np.float32)
#: The first frames that are taken for rest.
_REST = 3
#: Points of the face mesh: both eyes (picture's left first), tip of the nose, corners of the mouth.
_MESH_EYES, _MESH_NOSE, _MESH_MOUTH = ((33, 133), (362, 263)), 1, (61, 291)


def head_motion(eyes: NDArray[Any], nose: NDArray[Any], mouth: NDArray[Any]) -> Array:
    """Motion of a head since its first frames, in units of about one for a lively head.

    Args:
        eyes: `[F, 2, 2]` in pixels (x, y). nose: `[F, 2]`. mouth: Its corners, `[F, 2, 2]`.

    Returns:
        `[F, 7]`: place of the face (x, y), its size along and across, where the nose lies across (turns) and along the
        face (nods), how it is tilted; lengths are relative to that from between the eyes to the mouth.
    """
    eyes = np.take_along_axis(eyes, np.argsort(eyes[..., :1], axis=1), axis=1).astype(np.float64)  # left first
    middle, lips = eyes.mean(1), mouth.astype(np.float64).mean(1)
    unit = max(float(np.median(np.linalg.norm(lips - middle, axis=1))), 1e-3)
    axis = eyes[:, 1] - eyes[:, 0]
    breadth = np.maximum(np.linalg.norm(axis, axis=1), 1e-3)
    axis = axis / breadth[:, None]
    length = np.maximum(np.linalg.norm(lips - middle, axis=1), 1e-3)
    beside = nose - (middle + lips) / 2
    values = np.stack(
        [
            *((middle + lips) / 2 / unit).T,
            np.log(length),
            np.log(breadth),
            (beside * axis).sum(1) / unit,
            (beside[:, 1] * axis[:, 0] - beside[:, 0] * axis[:, 1]) / unit,
            np.arctan2(axis[:, 1], axis[:, 0]),
        ],
        axis=1,
    )
    return np.asarray((values - values[:_REST].mean(0)) / _SPREAD, np.float32)


def mesh_features(face: FaceTrack) -> tuple[Array, Array, Array]:
    """Eyes `[F, 2, 2]`, nose `[F, 2]` and corners of the mouth `[F, 2, 2]` of a face that was followed, pixels."""
    points = face.points
    eyes = np.stack([points[:, pair].mean(1) for pair in _MESH_EYES], axis=1)
    return eyes, points[:, _MESH_NOSE], points[:, _MESH_MOUTH]


def of_track(face: FaceTrack) -> Array:
    """`head_motion` of a face that was followed through a video."""
    return head_motion(*mesh_features(face))


def of_labels(points: NDArray[Any]) -> Array:
    """`head_motion` of the stage's label `points [F, 8, 2]`."""
    return head_motion(points[:, :2], points[:, 2], points[:, 3:5])
