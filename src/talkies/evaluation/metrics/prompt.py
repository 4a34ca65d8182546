"""Prompt following: whether gestures that were asked for are seen; the interface. No classifier is included yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.sample import Observation


@dataclass(frozen=True)
class AskedGesture:
    """A gesture of the prompt: who makes which, and when in seconds where that is known."""

    person: int
    name: str
    start: float | None = None
    end: float | None = None


class GestureClassifier(Protocol):
    """Something that sees gestures."""

    @property
    def name(self) -> str:
        """Stands in the column's name."""

    @property
    def gestures(self) -> tuple[str, ...]:
        """What it knows."""

    def probabilities(self, seen: Observation, person: int) -> NDArray[np.floating]:
        """`[F, len(gestures)]` of one person."""


def following(
    seen: Observation, asked: Sequence[AskedGesture], classifier: GestureClassifier, threshold: float = 0.5
) -> Mapping[str, float]:
    """How well a video follows its prompt.

    Returns:
        `done`: share of asked gestures seen in the right person; `mistaken`: share seen in somebody else instead;
        `late`: mean seconds between asked and seen middle, where a time was asked for. NaN where nothing was asked.
    """
    seen_by = [classifier.probabilities(seen, k) for k in range(len(seen.sample.people))]
    done, mistaken, late = [], [], []
    for gesture in asked:
        column = classifier.gestures.index(gesture.name)
        peaks = [float(values[:, column].max()) for values in seen_by]
        done.append(peaks[gesture.person] >= threshold)
        others = [peak for k, peak in enumerate(peaks) if k != gesture.person]
        mistaken.append(not done[-1] and max(others, default=0.0) >= threshold)
        if done[-1] and gesture.start is not None and gesture.end is not None:
            moment = float(seen_by[gesture.person][:, column].argmax() + 0.5) / 25
            late.append(moment - (gesture.start + gesture.end) / 2)
    nan = float("nan")
    return {
        "done": float(np.mean(done)) if done else nan,
        "mistaken": float(np.mean(mistaken)) if mistaken else nan,
        "late": float(np.mean(late)) if late else nan,
    }
