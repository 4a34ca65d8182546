"""Measures samples one by one; what cannot be measured becomes a row that says why."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import TalkiesError
from talkies.evaluation.lips import lip_reports, wanted_opening
from talkies.evaluation.metric import Metric, columns
from talkies.evaluation.metrics.drift import drift_curves
from talkies.evaluation.results import ColumnEntry, PersonValues, Results, Row, number
from talkies.evaluation.sample import Observation, Person, Sample
from talkies.evaluation.statistics import SEED
from talkies.evaluation.sync import CurveScorer, bind
from talkies.version import __version__ as VERSION


def measure_all(
    samples: Iterable[Sample],
    metrics: tuple[Metric, ...],
    progress: Callable[[Row], None] = lambda row: None,
    shuffle: bool = False,
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Rows of all samples, and of the same videos with other samples' voices.

    Args:
        samples: Looked at one by one, in order.
        metrics: Each is computed for each sample.
        progress: Called after each sample.
        shuffle: Measure the second kind too: every video with the voices of the one before it (of the same number of
            people; the first with the last one's). It tells what chance gives.

    Returns:
        Own rows and shuffled ones (empty without `shuffle`).
    """
    rows: list[Row] = []
    strange: list[Row] = []
    first: dict[int, Observation] = {}  # by the number of people
    last: dict[int, tuple[Person, ...]] = {}
    alone: set[int] = set()
    for sample in samples:
        seen = Observation(sample)
        rows.append(measure_one(seen, metrics))
        progress(rows[-1])
        if shuffle and not rows[-1].failure:
            count = len(sample.people)
            if count in last:
                strange.append(measure_one(seen.with_voices(last[count]), metrics))
                alone.discard(count)
            else:
                first[count] = seen.kept()
                alone.add(count)
            last[count] = sample.people
    for count, seen in first.items():
        if count not in alone:
            strange.insert(0, measure_one(seen.with_voices(last[count]), metrics))
    return tuple(rows), tuple(strange)


def measure_one(seen: Observation, metrics: tuple[Metric, ...]) -> Row:
    """One row; of a broken, silent, faceless or too short video, or one that breaks a metric, with the reason."""
    began = time.perf_counter()
    key = seen.sample.key
    try:
        assert seen.size  # a broken or too short video shows here  # noqa: S101
        values: dict[str, float | None] = {}
        for metric in metrics:
            if not metric.missing():
                values |= {name: number(value) for name, value in metric.measure(seen).items()}
        found = not seen.lost
        return Row(
            key=key,
            values=values,
            people=_people(seen) if found else (),
            matrix=tuple(tuple(map(number, row)) for row in bind(seen, CurveScorer()).scores) if found else (),
            curves=_curves(seen),
            seconds=round(time.perf_counter() - began, 3),
        )
    except TalkiesError as error:
        return Row(key=key, failure=" ".join(str(error).split()), seconds=round(time.perf_counter() - began, 3))


def _people(seen: Observation) -> tuple[PersonValues, ...]:
    return tuple(
        {name: number(value) if isinstance(value, float) else value for name, value in vars(report).items()}
        for report in lip_reports(seen)
    )


def _curves(seen: Observation) -> dict[str, tuple[float, ...]]:
    """What is plotted: lips over frames, drift over seconds."""
    curves = {name: _rounded(values) for name, values in drift_curves(seen).items()}
    if not seen.lost:
        for k, person in enumerate(seen.sample.people):
            curves[f"{person.name} seen"] = _rounded(seen.mouths[k].opening)
            curves[f"{person.name} wanted"] = _rounded(wanted_opening(seen, k))
    return curves


def _rounded(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def shifted(samples: Iterable[Sample], frames: int) -> Iterator[Sample]:
    """The same samples with voices (and truth) `frames` earlier: lips must be found late by as much."""
    for sample in samples:
        yield replace(sample, people=tuple(_earlier(person, frames) for person in sample.people))


def _earlier(person: Person, frames: int) -> Person:
    voice = None if person.voice is None else person.voice[frames * 640 :]
    truth = person.truth
    if truth is not None:
        truth = replace(truth, opening=truth.opening[frames:], width=truth.width[frames:])
    return replace(person, voice=voice, truth=truth)


def as_results(
    rows: tuple[Row, ...],
    metrics: tuple[Metric, ...],
    model: str,
    set_name: str,
    whole: dict[str, float | None] | None = None,
    notes: tuple[str, ...] = (),
) -> Results:
    """Rows with all that is needed to read them later."""
    entries = {
        name: ColumnEntry(direction=column.direction, unit=column.unit, meaning=column.meaning)
        for name, column in columns(metrics).items()
    }
    missing = tuple(f"{metric.name}: {reason}" for metric in metrics if (reason := metric.missing()))
    made = {
        "talkies": VERSION,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seed": str(SEED),
    }
    return Results(
        model=model, set=set_name, columns=entries, rows=rows, whole=whole or {}, notes=(*missing, *notes), made=made
    )
