"""Measures of whole sets: the Frechet distance of features of a model's videos from those of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def distances(
    chosen: Sequence[SetMetric], made: Mapping[str, Parts], real: Mapping[str, Parts]
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """All chosen distances by column, each the mean over the videos' parts, and notes about those that could not be
    computed or mean little."""
    values: dict[str, float | None] = {}
    notes = []
    for metric in chosen:
        own, true = made.get(metric.name, ()), real.get(metric.name, ())
        try:
            if not own or len(own) != len(true):
                raise InputError("A Frechet distance needs features of both sets.")
            apart = [distance(a, b) for a, b in zip(own, true, strict=True)]
            values[metric.column.name] = round(float(np.mean(apart)), 6)
        except InputError as error:
            values[metric.column.name] = None
            notes.append(f"{metric.column.name}: {error}")
            continue
        count, width = min(sum(map(len, part)) for part in (*own, *true)), own[0][0].shape[1]
        if count < 2 * width:
            notes.append(
                f"{metric.column.name} rests on {count} features of {width} numbers: it is biased upwards; compare it "
                "only with others of as many."
            )
    return values, tuple(notes)
