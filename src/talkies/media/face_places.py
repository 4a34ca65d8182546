"""Where mouths and eyes are, as shares of the cells of a coarse grid: from landmarks, or found in a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.media.people import find_faces

Array = NDArray[Any]

# Half sizes of the two places, and how far below its landmarks the first one's middle lies, in distances from between
# the eyes to the mouth.
_MOUTH, _CHIN, _EYES = (0.60, 0.48), 0.10, (0.80, 0.34)


def face_places(eyes: Array, mouth: Array, rows: int, columns: int, cell: int) -> Array:
    """How much of each cell is mouth (with the chin), and how much is eyes.

    Args:
        eyes: The middle between the eyes, `[F, 2]` in pixels (x, y).
        mouth: The middle of the mouth, `[F, 2]`.
        rows, columns: Cells of the picture.
        cell: Pixels to a cell's side.

    Returns:
        `[F, 2, rows, columns]` in [0, 1]: mouth, eyes.
    """
    length = np.linalg.norm(mouth - eyes, axis=1, keepdims=True)
    down = np.concatenate([np.zeros_like(length), _CHIN * length], 1)
    at_mouth = _coverage(mouth + down, length * np.array(_MOUTH), rows, columns, cell)
    return np.stack([at_mouth, _coverage(eyes, length * np.array(_EYES), rows, columns, cell)], 1)


# The detector marks pupils, and mouths a little high; the stage's points, by which all is trained, are the middles of
# upper lids and of mouths. In distances from eyes to mouth as it finds them (`benchmarks/landmarks.py`).
_LIDS_ABOVE, _MOUTH_BELOW = 0.088, 0.037


def find_landmarks(picture: Image.Image) -> Array:
    """Lids, nose and corners of the mouth of all faces of a picture, `[n, 5, 2]` in pixels (x, y), left to right."""
    found = [face.points for face in find_faces(picture) if face.points]
    points = np.array(found, np.float32).reshape(-1, 5, 2)
    down = points[:, 3:].mean(1, keepdims=True) - points[:, :2].mean(1, keepdims=True)
    points[:, :2] -= _LIDS_ABOVE * down
    points[:, 3:] += _MOUTH_BELOW * down
    return points


def all_places(points: Array, rows: int, columns: int, cell: int) -> Array:
    """The places of all faces of a picture together, `[2, rows, columns]`, of their landmarks `[n, 5, 2]`."""
    if not len(points):
        return np.zeros((2, rows, columns), np.float32)
    places = face_places(points[:, :2].mean(1), points[:, 3:].mean(1), rows, columns, cell)
    return np.asarray(places.max(0), np.float32)


def _coverage(centre: Array, half: Array, rows: int, columns: int, cell: int) -> Array:
    """Share of every cell that lies in the boxes `centre +- half` (`[F, 2]`, pixels): `[F, rows, columns]`."""

    def along(axis: int, cells: int) -> Array:
        edges = np.arange(cells) * cell
        low, high = (centre - half)[:, axis, None], (centre + half)[:, axis, None]
        return np.clip(np.minimum(edges + cell, high) - np.maximum(edges, low), 0, cell) / cell  # [F, cells]

    return along(1, rows)[:, :, None] * along(0, columns)[:, None]
