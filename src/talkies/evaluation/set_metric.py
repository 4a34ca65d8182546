"""Measures of whole sets: the Frechet distance of features of a model's videos from those of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.frechet import Moments, frechet_distance
from talkies.evaluation.metric import Column
from talkies.evaluation.sample import Observation

Features = NDArray[np.float32]
#: Per part of a video that a protocol cuts out: the features of every video.
Parts = Sequence[Sequence[Features]]

#: Groups of videos that are left out in turn, and how many it takes to say anything.
_GROUPS, _FEWEST = 20, 10


@dataclass(frozen=True)
class SetMetric:
    """A Frechet distance.

    Attributes:
        name: On the command line. column: What it gives. needs: Of a sample, in words.
        features: `[n, D]` of one video, n at least 1. weights: What it looks through.
        missing: Why it cannot be computed here and how to mend that, or "". source: Where it is described.
        brought: The file of weights that the user brought, if there is one.
        of_people: It looks at people, so a protocol that cuts a video up gives one distance per part, and their mean
            is the result. Otherwise it looks at whole pictures, whatever the protocol.
    """

    name: str
    column: Column
    needs: str
    features: Callable[[Observation], Features]
    weights: str = ""
    missing: Callable[[], str] = lambda: ""
    brought: Callable[[], Path | None] = lambda: None
    source: str = ""
    of_people: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """As of a `Metric`."""
        return (self.column,)


def set_metrics() -> dict[str, SetMetric]:
    """All of them by name."""
    from talkies.evaluation.metrics import ALL_OF_SETS

    return {metric.name: metric for metric in ALL_OF_SETS}


def distance(made: Sequence[Features], real: Sequence[Features]) -> float:
    """Frechet distance of two lists of features, one entry per video.

    Raises:
        InputError: Fewer than two features on a side.
    """
    if not made or not real:
        raise InputError("A Frechet distance needs features of both sets.")
    return frechet_distance(Moments.of(np.concatenate(made)), Moments.of(np.concatenate(real)))


@dataclass(frozen=True)
class Distances:
    """Of a model's videos from the real ones.

    Attributes:
        values: By column, each the mean over the videos' parts; None where it could not be computed.
        intervals: 95 % confidence intervals, see `interval`.
        notes: About those that could not be computed or mean little.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def distances(chosen: Sequence[SetMetric], made: Mapping[str, Parts], real: Mapping[str, Parts]) -> Distances:
    """All chosen distances."""
    values: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    notes = []
    for metric in chosen:
        own, true = made.get(metric.name, ()), real.get(metric.name, ())
        try:
            if not own or len(own) != len(true):
                raise InputError("A Frechet distance needs features of both sets.")
            apart = _apart(own, true)
            values[metric.column.name] = round(apart, 6)
        except InputError as error:
            values[metric.column.name] = None
            notes.append(f"{metric.column.name}: {error}")
            continue
        if spread := interval(own, true, apart):
            intervals[metric.column.name] = spread
        count, width = min(sum(map(len, part)) for part in (*own, *true)), own[0][0].shape[1]
        if count < 2 * width:
            notes.append(
                f"{metric.column.name} rests on {count} features of {width} numbers: it is biased upwards; compare it "
                "only with others of as many."
            )
    return Distances(values, intervals, tuple(notes))


def among(chosen: Sequence[SetMetric], real: Mapping[str, Parts]) -> Distances:
    """Every second of the real videos against the others: what a distance is where nothing differs but the videos.

    With half as many videos on either side it is biased upwards more than a model's distance is.
    """
    halves = [{name: [part[start::2] for part in parts] for name, parts in real.items()} for start in (0, 1)]
    known = [metric for metric in chosen if min(map(len, real.get(metric.name, ())), default=0) > 1]
    found = distances(known, *halves)
    names = ", ".join(found.values)
    note = f"ground truth, {names}: every second of the set's own videos against the others, half as many on each side"
    return Distances(found.values, found.intervals, (note,) if names else ())


def _apart(made: Parts, real: Parts) -> float:
    return float(np.mean([distance(a, b) for a, b in zip(made, real, strict=True)]))


def interval(made: Parts, real: Parts, apart: float) -> tuple[float, float] | None:
    """95 % confidence interval of a distance by a grouped jackknife over videos; None with fewer than ten.

    A bootstrap would be no use: videos that are drawn twice make covariances smaller, and every draw lies above the
    distance. Leaving out a group moves all distances up alike, which does not count (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 11).

    Args:
        made, real: Features of every part of every video.
        apart: The distance of all of them.
    """
    count = min(len(part) for part in (*made, *real))
    groups = min(_GROUPS, count)
    if groups < _FEWEST:
        return None

    def without(parts: Parts, group: int) -> Parts:
        return [[features for k, features in enumerate(part) if k % groups != group] for part in parts]

    left = np.array([_apart(without(made, group), without(real, group)) for group in range(groups)])
    error = float(np.sqrt((groups - 1) * np.square(left - left.mean()).mean()))
    return round(max(0.0, apart - 1.96 * error), 6), round(apart + 1.96 * error, 6)
