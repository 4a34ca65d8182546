"""Measures samples one by one; what cannot be measured becomes a row that says why."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import TalkiesError
from talkies.evaluation.lips import lip_reports, wanted_opening
from talkies.evaluation.metric import Metric, columns
from talkies.evaluation.metrics.stage_sync import STAGE_SYNC, STRANGE
from talkies.evaluation.protocols import Protocol, tracks
from talkies.evaluation.results import ColumnEntry, PersonValues, Results, Row, number
from talkies.evaluation.sample import Observation, Person, Sample
from talkies.evaluation.set_metric import Distances, Features, SetMetric
from talkies.evaluation.statistics import SEED
from talkies.evaluation.sync import CurveScorer, bind
from talkies.evaluation.weights import checksum
from talkies.version import __version__ as VERSION

#: Said wherever exact lips are not known, as they are of the stage's own people.
DOMAIN_NOTE = (
    "Where lips are judged against voices, the speech filter was fitted to synthetic speakers: its numbers compare "
    "videos of the same people and voices, they are no verdict on real footage."
)
#: Said wherever the sync expert judges people whose exact lips are not known, who may well be real.
EXPERT_NOTE = (
    "The sync expert (stage-sync) was fitted to the stage's rendered people and voices. It is not SyncNet, and its "
    "numbers on other footage are outside of its domain: read them beside the shuffled audio's, or not at all."
)


@dataclass
class Findings:
    """What one pass over a set found.

    Attributes:
        rows: One per sample. shuffled: The same videos with other samples' voices; empty unless asked for.
        features: Per set metric, for every part that the protocol cuts out, one array per video.
        stopped: By Ctrl-C, before the last sample.
    """

    rows: list[Row] = field(default_factory=list)
    shuffled: list[Row] = field(default_factory=list)
    features: dict[str, list[list[Features]]] = field(default_factory=dict)
    stopped: bool = False


def measure_all(
    samples: Iterable[Sample],
    metrics: Sequence[Metric],
    of_sets: Sequence[SetMetric] = (),
    *,
    protocol: Protocol = tracks,
    shuffle: bool = False,
    progress: Callable[[Row], None] = lambda row: None,
) -> Findings:
    """Measures samples one by one, in order. Ctrl-C ends it with what has been found.

    Args:
        samples: Looked at once. metrics: Computed for each. of_sets: Whose features are collected.
        protocol: How a sample is cut up; numbers are means over its parts.
        shuffle: Measure every video also with the voices of the one before it that has as many people (the first with
            the last one's), cut up in the same way: what chance gives.
        progress: Called after each sample.
    """
    found = Findings()
    shuffler = _Shuffler(metrics, protocol)
    try:
        for sample in samples:
            row, parts = _measure_parts(sample, metrics, protocol)
            found.rows.append(row)
            progress(row)
            if row.failure:
                continue
            for metric in of_sets:
                if not metric.missing():
                    looks = parts if metric.of_people or protocol is tracks else [Observation(sample)]
                    _collect(found.features.setdefault(metric.name, [[] for _ in looks]), metric, looks)
            if shuffle:
                found.shuffled += shuffler.add(sample, parts)
        found.shuffled += shuffler.rest()
    except KeyboardInterrupt:
        found.stopped = True
    return found


class _Shuffler:
    """Pairs every video with the voices of the one before it that has as many people."""

    def __init__(self, metrics: Sequence[Metric], protocol: Protocol) -> None:
        self._metrics = metrics
        self._protocol = protocol
        self._first: dict[int, tuple[Sample, list[Observation]]] = {}
        self._last: dict[int, tuple[Person, ...]] = {}
        self._pairs: Counter[int] = Counter()

    def add(self, sample: Sample, parts: list[Observation]) -> list[Row]:
        count = len(sample.people)
        before, self._last[count] = self._last.get(count), sample.people
        if before is None:
            self._first[count] = sample, parts
            return []
        self._pairs[count] += 1
        return [self._row(sample, parts, before)]

    def rest(self) -> list[Row]:
        """The first ones, with the last ones' voices."""
        return [
            self._row(sample, parts, self._last[count])
            for count, (sample, parts) in self._first.items()
            if self._pairs[count]
        ]

    def _row(self, sample: Sample, parts: Sequence[Observation], people: tuple[Person, ...]) -> Row:
        """Voices are exchanged in the whole video, then it is cut up; what was seen in its parts is kept."""
        cut = self._protocol(replace(sample, people=people))
        rows = [
            measure_one(part.with_voices(other.people), self._metrics) for part, other in zip(parts, cut, strict=True)
        ]
        return _averaged(sample.key, rows)


def _measure_parts(sample: Sample, metrics: Sequence[Metric], protocol: Protocol) -> tuple[Row, list[Observation]]:
    try:
        parts = [Observation(part) for part in protocol(sample)]
    except TalkiesError as error:
        return Row(key=sample.key, failure=" ".join(str(error).split())), []
    return _averaged(sample.key, [measure_one(part, metrics) for part in parts]), parts


def _averaged(key: str, rows: Sequence[Row]) -> Row:
    """One row of a video that was measured in parts."""
    if len(rows) == 1:
        return rows[0]
    failures = [row.failure for row in rows if row.failure]
    names = dict.fromkeys(name for row in rows for name in row.values)
    values = {name: _mean([row.values.get(name) for row in rows]) for name in names}
    return Row(
        key=key,
        values={} if failures else values,
        people=tuple(person for row in rows for person in row.people),
        failure="; ".join(failures),
        seconds=sum(row.seconds for row in rows),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 6) if known else None


def _collect(into: Sequence[list[Features]], metric: SetMetric, parts: Sequence[Observation]) -> None:
    """Features of a video, part by part; one that lacks some is left out, its row says what it lacks."""
    try:
        found = [metric.features(part) for part in parts]
    except TalkiesError:
        return
    for of_part, features in zip(into, found, strict=True):
        of_part.append(features)


def measure_one(seen: Observation, metrics: Sequence[Metric]) -> Row:
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
            curves=_curves(seen, metrics),
            strip=seen.strip,
            seconds=round(time.perf_counter() - began, 3),
        )
    except TalkiesError as error:
        return Row(key=key, failure=" ".join(str(error).split()), seconds=round(time.perf_counter() - began, 3))


def _people(seen: Observation) -> tuple[PersonValues, ...]:
    return tuple(
        {name: number(value) if isinstance(value, float) else value for name, value in vars(report).items()}
        for report in lip_reports(seen)
    )


def _curves(seen: Observation, metrics: Sequence[Metric]) -> dict[str, tuple[float, ...]]:
    """What is plotted: lips over frames, what metrics say over seconds."""
    over_time = [metric.curves(seen) for metric in metrics if not metric.missing()]
    curves = {name: _rounded(values) for found in over_time for name, values in found.items()}
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


def _strange(rows: Sequence[Row]) -> list[str]:
    """A note on videos whose faces are unlike those that the sync expert was fitted to."""
    known = {row.key: value for row in rows if (value := row.values.get("stage-sync strangeness")) is not None}
    strange = [key for key, value in known.items() if value > STRANGE]
    if not strange:
        return []
    return [
        f"{len(strange)} of {len(known)} videos show faces unlike those the sync expert was fitted to (strangeness "
        f"over {STRANGE:g}; highest: {max(known.values()):.1f}): what it says of them is a guess."
    ]


def as_results(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    model: str,
    set_name: str,
    *,
    of_sets: Sequence[SetMetric] = (),
    whole: Distances | None = None,
    protocol: str = "tracks",
    making: Mapping[str, str] | None = None,
    stopped: bool = False,
) -> Results:
    """Rows with all that is needed to read them later.

    Args:
        rows: One per video. metrics, of_sets: What was computed. model, set_name: As the results are called.
        whole: Numbers of the whole set. protocol: How people were cut out.
        making: What the videos were generated with. stopped: Before all was measured.
    """
    whole = whole or Distances()
    described = {**columns(metrics), **{metric.column.name: metric.column for metric in of_sets}}
    entries = {
        name: ColumnEntry(direction=column.direction, unit=column.unit, meaning=column.meaning)
        for name, column in described.items()
    }
    computed: list[Metric | SetMetric] = [*metrics, *of_sets]
    missing = [f"{metric.name}: {reason}" for metric in computed if (reason := metric.missing())]
    missing += [
        f"{metric.name} looked through {path.name}, SHA-256 {checksum(path)}."
        for metric in computed
        if (path := metric.brought()) is not None
    ]
    if any(person.get("against") != "truth" for row in rows for person in row.people):
        missing.append(DOMAIN_NOTE)
        if any(metric is STAGE_SYNC for metric in metrics):
            missing.append(EXPERT_NOTE)
    missing += _strange(rows)
    if stopped:
        missing.append(f"Stopped early: {len(rows)} videos were measured, distances of whole sets were not.")
    made = {
        "talkies": VERSION,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seed": str(SEED),
        **{f"generation {name}": value for name, value in (making or {}).items()},
    }
    return Results(
        model=model,
        set=set_name,
        protocol=protocol,
        columns=entries,
        rows=tuple(rows),
        whole=dict(whole.values),
        whole_intervals=dict(whole.intervals),
        notes=(*missing, *whole.notes),
        made=made,
        stopped=stopped,
    )
