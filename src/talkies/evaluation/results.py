"""What an evaluation found, on disk: JSON that reports and comparisons read, CSV for everything else."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from talkies.domain.errors import InputError
from talkies.media.staging import staged

MAX_BYTES = 1 << 28

PersonValues = dict[str, float | str | bool | None]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """One video.

    Attributes:
        key: Its name. values: By column; None where a number has no meaning.
        people: Per person what `lips.LipReport` says.
        matrix: Sync scores, row: face, column: voice. curves: Over time, by name, for plots.
        strip: Some frames as a JPEG in a `data:` address, or "".
        failure: Why there are no values, or "". seconds: That measuring took.
    """

    key: str
    values: dict[str, float | None] = Field(default_factory=dict)
    people: tuple[PersonValues, ...] = ()
    matrix: tuple[tuple[float | None, ...], ...] = ()
    curves: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    strip: str = ""
    failure: str = ""
    seconds: float = 0.0


class ColumnEntry(_Strict):
    """What a column means."""

    direction: Literal["higher", "lower", "zero", "one", "none"]
    unit: str = ""
    meaning: str = ""

    @property
    def target(self) -> float | None:
        """The best value, where neither more nor less is always better."""
        return {"zero": 0.0, "one": 1.0}.get(self.direction)

    @property
    def is_share(self) -> bool:
        """Whether values lie in 0..1 and count something; columns of shares say so first."""
        return self.meaning.startswith("share ")

    def compared_as(self, name: str) -> str:
        """What models are compared by: the column itself, or how far off its target values are."""
        return name if self.target is None else f"|{name} - {self.target:g}|" if self.target else f"|{name}|"


class Results(_Strict):
    """One model on one set.

    Attributes:
        model: Its name, `ground truth` or `shuffled audio`. set: Which videos. protocol: How people were cut out.
        columns: What the numbers mean. rows: One per video.
        whole: Numbers of the whole set (FID, ...). whole_intervals: Their 95 % confidence intervals.
        notes: What could not be computed and why.
        made: Version, date, machine, the intervals' seed, and what the videos were generated with (`generation ...`).
        stopped: Ctrl-C came before all was measured.
    """

    format: Literal["talkies-evaluation"] = "talkies-evaluation"
    version: Literal[1] = 1
    model: str
    set: str
    protocol: str = "tracks"
    columns: dict[str, ColumnEntry]
    rows: tuple[Row, ...]
    whole: dict[str, float | None] = Field(default_factory=dict)
    whole_intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made: dict[str, str] = Field(default_factory=dict)
    stopped: bool = False

    def column(self, name: str) -> dict[str, float]:
        """Values of one column by key, where they have a meaning."""
        found = {row.key: row.values.get(name) for row in self.rows}
        return {key: value for key, value in found.items() if value is not None and math.isfinite(value)}


def number(value: float) -> float | None:
    """A number as JSON knows it."""
    return round(float(value), 6) if math.isfinite(value) else None


def save(results: Sequence[Results], folder: Path) -> None:
    """Writes `NAME.json` for each and `rows.csv` for all into `folder` (made if missing).

    Names hold the protocol where it is not the usual one (`ending`), and say so where measuring was stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        with staged(folder / f"{_file_name(result)}.json") as scratch:
            scratch.write_text(json.dumps(result.model_dump(), indent=1) + "\n", encoding="utf-8")
    protocols = {result.protocol for result in results}
    name = "rows" + (ending(protocols.pop()) if len(protocols) == 1 else "")
    with staged(folder / f"{name}{_unfinished(any(result.stopped for result in results))}.csv") as scratch:
        scratch.write_text(as_csv(results), encoding="utf-8")


def as_csv(results: Sequence[Results]) -> str:
    """One line per model and video."""
    names = list(dict.fromkeys(name for result in results for name in result.columns))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "set", "key", *names, "failure"])
    for result in results:
        for row in result.rows:
            shown = [row.values.get(name) for name in names]
            writer.writerow([
                result.model, result.set, row.key,
                *("" if v is None else f"{v:.6g}" for v in shown), row.failure,
            ])  # fmt: skip
    return buffer.getvalue()


def load(path: Path) -> tuple[Results, ...]:
    """Results of a file, or of all files of a folder.

    Raises:
        InputError: None there, or not made by this program.
    """
    paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not paths:
        raise InputError(f"There are no results in {path}.", "Make some: talkies evaluate measure --help")
    return tuple(_load(one) for one in paths)


def _load(path: Path) -> Results:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB.")
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} holds no results of an evaluation ({place}: {first['msg']}).") from None


def _file_name(result: Results) -> str:
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in f"{result.set}-{result.model}")
    return (plain.strip("-").lower() or "results") + ending(result.protocol) + _unfinished(result.stopped)


def _unfinished(stopped: bool) -> str:
    """What file names end with where results are not whole, so that they never replace whole ones."""
    return "-stopped" if stopped else ""


def ending(protocol: str) -> str:
    """What file names end with, so that a set measured in two ways gives two files."""
    return "" if protocol == "tracks" else f"-{protocol}"


def same_task(results: Sequence[Results]) -> None:
    """Checks that results can be compared.

    Raises:
        InputError: They are of different sets or protocols.
    """
    for what in ("set", "protocol"):
        found = sorted({str(getattr(result, what)) for result in results})
        if len(found) > 1:
            raise InputError(f"These are results of different {what}s: {', '.join(found)}.", "Compare like with like.")
