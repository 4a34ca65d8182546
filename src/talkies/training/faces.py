"""Expression maps from labels: what latents are made of, and what the painter of faces is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.expression import AT_MOUTH, EXPRESSION, KEPT
from talkies.domain.face_units import FACE_UNITS
from talkies.media.face_places import face_places
from talkies.models.motion_latents import CELL

Array = NDArray[Any]

_WEIGHTS = np.array([[weights.get(unit, 0.0) for unit in FACE_UNITS] for weights in EXPRESSION.values()], np.float32)
_IS_MOUTH = np.array([name in AT_MOUTH for name in EXPRESSION])


def expressions(units: Array) -> Array:
    """Face units `[..., 52]` -> expression `[..., 8]`."""
    return np.asarray(units @ _WEIGHTS.T, np.float32)


def face_maps(units: Array, points: Array, rows: int, columns: int) -> Array:
    """Expression laid over the cells of mouth and eyes.

    Args:
        units: `[F, 52]`.
        points: `[F, 8, 2]` in pixels: eyes, nose, mouth corners, upper and lower lip, chin.
        rows, columns: Cells of the picture.

    Returns:
        `[F, 8 + 2, rows, columns]`: expression times place, then the share of each cell that is mouth, and eyes.
    """
    places = places_of(points, rows, columns)
    place = places[:, np.where(_IS_MOUTH, 0, 1)]  # [F, 8, rows, columns]
    return np.concatenate([expressions(units)[:, :, None, None] * place, places], 1).astype(np.float32)


def since_reference(maps: Array, reference: Array) -> Array:
    """What a face keeps of the reference, like a smile, told as what was added since.

    Args:
        maps: `[F, 10, rows, columns]` of `face_maps`.
        reference: Expression of the reference frame, `[8]`.
    """
    maps = maps.copy()
    for k, name in enumerate(EXPRESSION):
        if name in KEPT:
            maps[:, k] -= reference[k] * maps[:, len(EXPRESSION) + (name not in AT_MOUTH)]
    return maps


def places_of(points: Array, rows: int, columns: int) -> Array:
    """Where mouth and eyes are, `[F, 2, rows, columns]`, of landmarks as `face_maps` takes them."""
    return face_places(points[:, :2].mean(1), points[:, 3:7].mean(1), rows, columns, CELL).astype(np.float32)


def detected(points: Array, rng: np.random.Generator) -> Array:
    """`points [F, 8, 2]` as a detector might give them: moved a little, as a whole and each for itself."""
    size = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1).mean()
    moved = rng.normal(0, 0.05 * size, (len(points), 1, 2)) + rng.normal(0, 0.05 * size, points.shape)
    return np.asarray(points + moved, np.float32)


def move_points(points: Array, affine: Array) -> Array:
    """`points [..., 2]` after `affine [3, 3]`."""
    return np.asarray(points @ affine[:2, :2].T + affine[:2, 2], np.float32)
