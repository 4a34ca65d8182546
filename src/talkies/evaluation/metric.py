"""What a metric is, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.sample import Observation

if TYPE_CHECKING:
    from talkies.evaluation.set_metric import SetMetric

Direction = Literal["higher", "lower", "zero", "one", "none"]


@dataclass(frozen=True)
class Column:
    """One number of a metric.

    Attributes:
        name: In tables. direction: Which way is better. unit: Of the number, or "".
        meaning: In a sentence.
    """

    name: str
    direction: Direction
    unit: str
    meaning: str


@dataclass(frozen=True)
class Metric:
    """A measure of single videos.

    Attributes:
        name: On the command line. columns: What it gives.
        needs: Of the sample, in words. weights: It looks through, and their licence; "" for none.
        measure: Values by column name, NaN where a number has no meaning for this sample.
        missing: Why it cannot be computed on this machine and how to mend that, or "".
        brought: The file of weights that the user brought, if there is one: its checksum is noted beside results.
        source: Where it is described.
        curves: The same numbers over time, one per second, by name.
    """

    name: str
    columns: tuple[Column, ...]
    needs: str
    measure: Callable[[Observation], Mapping[str, float]]
    weights: str = ""
    missing: Callable[[], str] = lambda: ""
    brought: Callable[[], Path | None] = lambda: None
    source: str = ""
    curves: Callable[[Observation], Mapping[str, NDArray[np.float64]]] = lambda seen: {}


def metrics() -> dict[str, Metric]:
    """All metrics by name, in the order of tables."""
    from talkies.evaluation.metrics import ALL

    return {metric.name: metric for metric in ALL}


def choose(names: str) -> tuple[tuple[Metric, ...], tuple[SetMetric, ...]]:
    """Metrics of videos and of sets by names separated by commas; `all` for every one, `ready` for all that can be
    computed here.

    Raises:
        InputError: There is no such metric.
    """
    from talkies.evaluation.set_metric import set_metrics

    known, of_sets = metrics(), set_metrics()
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted in (["all"], ["ready"]):
        either: list[Metric | SetMetric] = [*known.values(), *of_sets.values()]
        wanted = [metric.name for metric in either if wanted == ["all"] or not metric.missing()]
    for name in wanted:
        if name not in known and name not in of_sets:
            raise InputError(f"There is no metric {name}.", f"Choose from {', '.join((*known, *of_sets))}, all, ready.")
    return (
        tuple(known[name] for name in wanted if name in known),
        tuple(of_sets[name] for name in wanted if name in of_sets),
    )


def columns(chosen: Sequence[Metric]) -> dict[str, Column]:
    """The columns of metrics by name."""
    return {column.name: column for metric in chosen for column in metric.columns}
