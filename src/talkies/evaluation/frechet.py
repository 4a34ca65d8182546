"""Frechet distance of two Gaussians: the arithmetic under FID, FVD and E-FID, and running moments for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean `[D]` and covariance `[D, D]` (divided by n - 1) of `count` features."""

    mean: Matrix
    covariance: Matrix
    count: int

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Self:
        """Of features `[n, D]`.

        Raises:
            InputError: Fewer than two, or one that is not a number.
        """
        given = np.asarray(features, np.float64)
        if given.ndim != 2 or len(given) < 2:
            raise InputError(
                f"A Frechet distance needs two features or more, not {len(given)}.", "Measure more videos."
            )
        if not np.isfinite(given).all():
            raise InputError("A feature is not a number.")
        mean = given.mean(0)
        centred = given - mean
        return cls(mean, centred.T @ centred / (len(given) - 1), len(given))


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), at least 0.

    The trace of the root is the sum of roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), a symmetric matrix: unlike a
    root of the product itself it is exact for rank-deficient covariances too (fewer videos than dimensions).
    """
    difference = first.mean - second.mean
    root = _root(first.covariance)
    between = root @ second.covariance @ root
    shared = np.sqrt(np.clip(np.linalg.eigvalsh((between + between.T) / 2), 0, None)).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared
    return max(float(difference @ difference + spread), 0.0)


def _root(matrix: Matrix) -> Matrix:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
