"""When people blink. Nobody's words, voice or prompt decide it: of what is drawn by chance the mean is a half-shut eye.

About 17 blinks a minute in conversation (Bentivoglio et al., Movement Disorders 1997), hardly ever two within half a
second; a lid falls in 75 ms and takes twice as long to rise.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FALL, SHUT, RISE = 0.075, 0.045, 0.15  # seconds
_LEAST_GAP = 0.6  # seconds


def blink_moments(duration: float, per_minute: float, rng: np.random.Generator) -> list[float]:
    """Seconds at which somebody's lids begin to fall.

    Args:
        duration: Seconds.
        per_minute: How often on average; up to 60.
        rng: Everything that is chosen.
    """
    mean_gap = 60 / per_minute
    moments = []
    now = rng.uniform(-0.5, mean_gap)
    while now < duration:
        moments.append(now)
        now += _LEAST_GAP + rng.exponential(max(mean_gap - _LEAST_GAP, 0.3))
    return moments


def lid(times: NDArray[np.floating], moment: float) -> NDArray[np.float64]:
    """One blink that begins at `moment`: how far the eye is shut at `times [n]` (seconds), in [0, 1]."""
    falling = np.clip((times - moment) / FALL, 0, 1)
    rising = np.clip((moment + FALL + SHUT + RISE - times) / RISE, 0, 1)
    eased = np.minimum(falling, rising)
    return np.asarray(eased * eased * (3 - 2 * eased))


def lids(times: NDArray[np.floating], moments: Iterable[float]) -> NDArray[np.float64]:
    """The same of all blinks; those over before the first of `times`, or begun after the last, cost nothing."""
    shut = np.zeros(len(times))
    for moment in moments:
        if times[0] - FALL - SHUT - RISE < moment < times[-1]:
            shut = np.maximum(shut, lid(times, moment))
    return shut
