"""Where eyes go while people talk. Nobody's words, voice or prompt decide it: of what is drawn by chance the mean is a
stare.

People fixate for half a second to two and jump in 40 ms; now and then they look away, speakers more than listeners
(Argyle and Cook, Gaze and Mutual Gaze, 1976).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JUMP = 0.04  # seconds


@dataclass(frozen=True)
class Fixation:
    """Where eyes rest, relative to what they look at on the whole.

    Attributes:
        offset: `[2]` in degrees: sideways, and up or down.
        seconds: For how long.
    """

    offset: NDArray[np.float64]
    seconds: float


def fixations(away: float, rng: np.random.Generator) -> Iterator[Fixation]:
    """One after the other, without end.

    Args:
        away: Share of fixations that lie elsewhere, 6 to 18 degrees off; the others go from eye to eye to mouth.
        rng: Everything that is chosen.
    """
    while True:
        if rng.random() < away:
            offset = np.array([rng.choice([-1, 1]) * rng.uniform(6, 18), rng.uniform(-9, 6)])
            yield Fixation(offset, float(rng.uniform(0.3, 0.9)))
        else:
            offset = rng.normal(0, 1.1, 2)
            yield Fixation(offset, float(rng.uniform(0.5, 2.2)))


def wandering(times: NDArray[np.floating], away: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Eyes at `times [n]` (seconds, rising, from 0 on), `[n, 2]` in degrees; they begin where they look already."""
    moments, targets = [0.0], [np.zeros(2)]
    end = float(times[-1]) if len(times) else 0.0
    now = float(rng.uniform(0.3, 2.2))
    for fixation in fixations(away, rng):
        if now > end:
            break
        moments += [now, now + JUMP]
        targets += [targets[-1], fixation.offset]
        now += fixation.seconds
    return np.stack([np.interp(times, moments, side) for side in np.transpose(targets)], -1)


def watched(speaking: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Whom everybody looks at: who has the floor, and who has it at whoever had it before.

    Args:
        speaking: Who speaks in which frame, `[P, F]`.

    Returns:
        `[P, F]`: a person's number, -1 for nobody in particular. Somebody has the floor until another speaks alone;
        of two people the first to speak looks at the other.
    """
    people, frames = speaking.shape
    seen = np.full((people, frames), -1, np.int64)
    holder = -1
    for frame in np.flatnonzero(np.diff(speaking, axis=1, prepend=False).any(0)):  # where anything changes
        now = np.flatnonzero(speaking[:, frame])
        if len(now) and holder not in now:
            before, holder = holder, int(now[0])
            if before < 0 and people == 2:
                before = 1 - holder
            seen[:, frame:] = holder
            seen[holder, frame:] = before
    return seen
