"""How two curves over time agree: correlation, best shift, share explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Curves that vary less than this (in eye distances) are still: nothing correlates with them.
STILL = 1e-3
#: Frames to either side in which a shift is looked for (SyncNet's protocol).
MAX_SHIFT = 15
#: Frames from which on a shift is no sync any more.
FAR = 6
#: Frames that two shifted curves must share.
_MIN_OVERLAP = 8


@dataclass(frozen=True)
class Alignment:
    """Agreement of a face with a voice at every shift.

    Attributes:
        scores: `[2 * MAX_SHIFT + 1]` at shifts -MAX_SHIFT..MAX_SHIFT of the face; the higher the better.
    """

    scores: NDArray[np.float64]

    @property
    def offset(self) -> int:
        """Frames by which the face is late (positive) or early."""
        return int(np.argmax(self.scores)) - MAX_SHIFT

    @property
    def best(self) -> float:
        """The score there."""
        return float(self.scores.max())

    @property
    def confidence(self) -> float:
        """Best minus median score, as SyncNet's confidence is defined on distances."""
        return float(self.scores.max() - np.median(self.scores))

    def near(self, tolerance: int = 1) -> float:
        """The best score at shifts of at most `tolerance` frames."""
        return float(self.scores[MAX_SHIFT - tolerance : MAX_SHIFT + tolerance + 1].max())

    def far(self, tolerance: int = 1) -> NDArray[np.float64]:
        """What `near` finds around shifts of `FAR` frames and more to either side, where nothing is in step: chance."""
        centres = [k for k in range(tolerance, len(self.scores) - tolerance) if abs(k - MAX_SHIFT) >= FAR]
        return np.array([self.scores[k - tolerance : k + tolerance + 1].max() for k in centres])


#: Of a face and a voice that have nothing in common.
NO_SYNC = Alignment(np.zeros(2 * MAX_SHIFT + 1))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's r of two curves of equal length; 0 where one of them is still."""
    if min(len(a), len(b)) < 2 or min(float(np.std(a)), float(np.std(b))) < STILL:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def align(seen: NDArray[np.floating], heard: NDArray[np.floating]) -> Alignment:
    """Correlation of what is seen with what is heard, at every shift.

    Args:
        seen: `[F]`. heard: `[F]`. At shift s, `seen[t + s]` is compared with `heard[t]`.
    """
    count = min(len(seen), len(heard))
    scores = np.zeros(2 * MAX_SHIFT + 1)
    for index, shift in enumerate(range(-MAX_SHIFT, MAX_SHIFT + 1)):
        if count - abs(shift) >= _MIN_OVERLAP:
            late, early = max(shift, 0), max(-shift, 0)
            scores[index] = correlation(seen[late : count - early], heard[early : count - late])
    return Alignment(scores)


def partial_correlation(a: NDArray[np.floating], b: NDArray[np.floating], given: NDArray[np.floating]) -> float:
    """Correlation of `a` with `b` after what `given` explains (linearly) of both is taken away."""
    if float(np.std(given)) < STILL:
        return correlation(a, b)

    def rest(values: NDArray[np.floating]) -> NDArray[np.floating]:
        centred, axis = values - values.mean(), given - given.mean()
        return np.asarray(centred - axis * float(centred @ axis) / float(axis @ axis))

    return correlation(rest(a), rest(b))


def slope(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """How far `a` moves per unit of `b` (least squares); NaN where `b` is still."""
    centred = b - b.mean()
    power = float(centred @ centred)
    return float(centred @ (a - a.mean())) / power if power > len(b) * STILL**2 else float("nan")
