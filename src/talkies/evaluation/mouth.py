"""What the lips do: opening and width over time, from a face track or from known truth, in the same unit.

The unit is the distance between the eyes (its median over the clip), so that pictures of any size compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import FaceTrack
from talkies.models import face_mesh as mesh

Array = NDArray[np.float32]

_LEFT_EYE, _RIGHT_EYE = (33, 133), (263, 362)


@dataclass(frozen=True)
class Mouth:
    """The lips of one person over F frames.

    Attributes:
        opening: `[F]` gap between the lips at the middle, in eye distances.
        width: `[F]` distance of the corners, in eye distances.
        eyes: The eye distance in pixels; NaN where the unit of the lips is free and only their shape over time counts.
    """

    opening: Array
    width: Array
    eyes: float


def measured_mouth(track: FaceTrack) -> Mouth:
    """The lips of a face track."""
    points = track.points
    left, right = (points[:, pair].mean(1) for pair in (_LEFT_EYE, _RIGHT_EYE))
    eyes = max(float(np.median(np.linalg.norm(left - right, axis=1))), 1e-3)
    gaps = [np.linalg.norm(points[:, upper] - points[:, lower], axis=1) for upper, lower in mesh.INNER_PAIRS]
    corners = np.linalg.norm(points[:, mesh.OUTER_CORNERS[0]] - points[:, mesh.OUTER_CORNERS[1]], axis=1)
    return Mouth(np.asarray(np.mean(gaps, axis=0) / eyes, np.float32), (corners / eyes).astype(np.float32), eyes)


def free_mouth(opening: NDArray[np.generic]) -> Mouth:
    """An opening `[F]` in a unit of its own, of a mouth whose width is not known."""
    curve = opening.astype(np.float32)
    return Mouth(curve, np.full_like(curve, np.nan), float("nan"))


def true_mouth(opening: NDArray[np.generic], width: NDArray[np.generic], points: NDArray[np.generic]) -> Mouth:
    """Known lips.

    Args:
        opening: `[F]` pixels. width: `[F]` pixels; NaN where it is not known.
        points: `[F, P, 2]` pixels; the first two are the eyes.
    """
    place = points.astype(np.float64)
    eyes = max(float(np.median(np.linalg.norm(place[:, 0] - place[:, 1], axis=1))), 1e-3)
    gap, corners = (values.astype(np.float64) / eyes for values in (opening, width))
    return Mouth(gap.astype(np.float32), corners.astype(np.float32), eyes)
