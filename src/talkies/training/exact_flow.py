"""Optical flow of filmed performers, exact where the stage knows it.

A flow that is measured (Dense Inverse Search) falls short of what heads do: by a quarter on nods, shakes and turns of
the stage's people, and where somebody leans it finds nothing (`benchmarks/exact_flow.py`). A model that learns from it
moves as little. The stage tells where every vertex of a face is in every frame, so at faces the flow is known; around
them, of three flows the one that explains the picture best is taken: measured from standing still, measured from the
head's motion, and that motion itself.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from talkies.models.optical_flow import flow_search

Array = NDArray[Any]

_CELL = 4  # pixels to a side of the cells in which vertices are averaged
_HIDDEN = 0.06  # decimetres behind the nearest vertex of the same two pixels: out of sight


class FlowFinder:
    """Flow from frames to one reference.

    Args:
        still: The reference, `[H, W]` uint8 grey.
        mesh: The face's vertices in it, `[V, 3]`: x, y in pixels, distance from the camera in decimetres.
    """

    def __init__(self, still: Array, mesh: Array) -> None:
        self._still, self._mesh = still, mesh
        self._y, self._x = np.mgrid[: still.shape[0], : still.shape[1]].astype(np.float32)
        self._search = flow_search()

    def flow(self, frame: Array, mesh: Array, coverage: Array) -> Array:
        """Flow to the reference.

        Args:
            frame: `[H, W]` uint8 grey.
            mesh: The face's vertices in it, `[V, 3]`.
            coverage: Of the performer, `[H, W]` in [0, 1].

        Returns:
            `[2, H, W]` float32 in pixels; zeros for a frame equal to the reference.
        """
        if np.array_equal(frame, self._still):
            return np.zeros((2, *frame.shape), np.float32)
        places, moves = mesh[:, :2], self._mesh[:, :2] - mesh[:, :2]
        seen = in_sight(mesh)
        motion = _affine(places[seen], moves[seen])
        x, y = self._x + np.float32(0.5), self._y + np.float32(0.5)  # vertices count from a pixel's edge
        head = np.stack([motion[k, 0] * x + motion[k, 1] * y + motion[k, 2] for k in range(2)], -1)
        of_face, known = _scattered(places[seen], moves[seen], frame.shape)
        around = self._explained(frame, head * coverage[..., None])
        moved = known[..., None] * of_face + (1 - known[..., None]) * around
        return np.ascontiguousarray(moved.transpose(2, 0, 1), np.float32)

    def _explained(self, frame: Array, head: Array) -> Array:
        """Of the head's motion and of what is measured from standing still and from there, what explains the frame
        best around every pixel, `[H, W, 2]`."""
        head = np.ascontiguousarray(head, np.float32)
        found = [
            self._search.calc(frame, self._still, None),
            self._search.calc(frame, self._still, head.copy()),  # it writes where it begins
            head,
        ]
        errors = []
        for flow in found:
            moved = cv2.remap(self._still, self._x + flow[..., 0], self._y + flow[..., 1], cv2.INTER_LINEAR)
            errors.append(cv2.GaussianBlur(cv2.absdiff(moved, frame).astype(np.float32), (0, 0), 3.0))
        best = np.argmin(errors, 0)
        return np.take_along_axis(np.stack(found), best[None, ..., None], 0)[0]


def face_flow(film: Array, still: Array, mesh: Array, still_mesh: Array, coverage: Array) -> Array:
    """Flow from each frame to the reference.

    Args:
        film: `[F, 3, H, W]` in [-1, 1].
        still: The reference, `[3, H, W]`.
        mesh: The face's vertices, `[F, V, 3]`: x, y in pixels, distance in decimetres.
        still_mesh: In the reference, `[V, 3]`.
        coverage: Of the performer, `[F, H, W]` in [0, 1].

    Returns:
        `[F, 2, H, W]` float32 in pixels; exactly zero for frames equal to the reference.
    """
    finder = FlowFinder(_grey(still), still_mesh)
    return np.stack([finder.flow(_grey(f), m, c) for f, m, c in zip(film, mesh, coverage, strict=True)])


def in_sight(mesh: Array) -> Array:
    """Which of `mesh [V, 3]` are about the nearest where they are, `[V]`; all where that leaves too few to tell."""
    place = (mesh[:, :2] / 2).astype(np.int64)
    place = place - place.min(0)
    number = place[:, 1] * (place[:, 0].max() + 1) + place[:, 0]
    nearest = np.full(number.max() + 1, np.inf)
    np.minimum.at(nearest, number, mesh[:, 2])
    seen = mesh[:, 2] < nearest[number] + _HIDDEN
    return seen if seen.sum() >= 8 else np.ones(len(mesh), bool)


def _grey(picture: Array) -> Array:
    return ((picture.mean(0) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _affine(places: Array, moves: Array) -> Array:
    """The affine motion `[2, 3]` nearest to `moves [n, 2]` at `places [n, 2]`."""
    middle = places.mean(0)
    known = np.concatenate([places - middle, np.ones((len(places), 1))], 1)
    solution = np.linalg.solve(known.T @ known + np.diag([1.0, 1.0, 0.0]), known.T @ moves).T  # [2, 3]
    solution[:, 2] -= solution[:, :2] @ middle
    return np.asarray(solution, np.float32)


def _scattered(places: Array, moves: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Moves averaged where vertices are, `[H, W, 2]`, and how far they are known there, `[H, W]` in [0, 1]."""
    rows, columns = -(-shape[0] // _CELL), -(-shape[1] // _CELL)
    cell = (places // _CELL).astype(np.int64)
    inside = ((cell >= 0) & (cell < (columns, rows))).all(1)
    number = cell[inside, 1] * columns + cell[inside, 0]
    weights = (None, moves[inside, 0], moves[inside, 1])
    sums = np.stack([np.bincount(number, w, rows * columns) for w in weights], -1).reshape(rows, columns, 3)
    sums = np.asarray(cv2.GaussianBlur(sums.astype(np.float32), (0, 0), 1.0))
    density = sums[..., 0]
    typical = np.median(density[density > 0.5 * density.max()]) if density.any() else 1.0
    fields = np.dstack([sums[..., 1:] / np.maximum(density, 1e-6)[..., None], (density / (0.3 * typical)).clip(0, 1)])
    size = (columns * _CELL, rows * _CELL)
    large = np.asarray(cv2.resize(fields, size, interpolation=cv2.INTER_LINEAR))[: shape[0], : shape[1]]
    return large[..., :2], large[..., 2]
