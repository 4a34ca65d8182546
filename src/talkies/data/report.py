"""The report: one row per clip, made or left out, and per video that could not be read."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from talkies.media.staging import staged

MADE = "made"


class Row(BaseModel):
    """What became of one stretch of a video.

    Attributes:
        video: Name of the file. part: Number of the part. shot, start, frames: Which stretch; start in seconds.
        result: `made`, or why not (`verdict.Reason`). detail: What was measured.
        key: Of the clip. people: In it. quality: Measurements by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str
    part: int = 0
    shot: int = 0
    start: float = 0.0
    frames: int = 0
    result: str = MADE
    detail: str = ""
    key: str = ""
    people: int = 0
    quality: dict[str, float | None] = {}


class PartRecord(BaseModel):
    """What is kept of a part that is done.

    Attributes:
        voices: Digest of the file beside the video that said who speaks, or "". rows: What became of its stretches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: str
    rows: tuple[Row, ...]

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        with staged(path) as scratch:
            scratch.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> PartRecord:
        """From the file of `write`."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """All rows as CSV, measurements in columns of their own."""
    measured = sorted({name for row in rows for name in row.quality})
    fixed = [name for name in Row.model_fields if name != "quality"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*fixed, *measured])
    for row in rows:
        table.writerow([*(getattr(row, name) for name in fixed), *(row.quality.get(name) for name in measured)])
    with staged(path) as scratch:
        scratch.write_text(text.getvalue(), encoding="utf-8")


def summary(rows: Sequence[Row]) -> list[tuple[str, int, float]]:
    """What became of everything, most frequent first: result, how many, seconds."""
    counts = Counter(row.result for row in rows)
    seconds = Counter[str]()
    for row in rows:
        seconds[row.result] += row.frames  # type: ignore[assignment]
    return [(result, count, seconds[result] / 25) for result, count in counts.most_common()]
