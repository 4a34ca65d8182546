"""`talkies evaluate prepare`: public test sets out of their authors' lists and the user's videos."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from talkies.domain.errors import InputError

EXAMPLES = """
[bold]Examples[/bold]

  talkies evaluate prepare hdtf --lists HDTF/HDTF_dataset --videos youtube --out sets/hdtf

  talkies evaluate prepare celebv-hq --lists celebvhq_info.json --videos youtube --out sets/celebv --limit 50

  talkies evaluate prepare emtd --lists echomimic_v2/EMTD_dataset --videos youtube --out sets/emtd --seconds 5

  talkies evaluate measure --set sets/hdtf        (what the clips are for)

A video is found by its name: the list's, or its YouTube id (NBMTc71yrpk.mp4). See docs/evaluation.md.
"""


class Name(StrEnum):
    """The sets that can be prepared."""

    HDTF = "hdtf"
    CELEBV_HQ = "celebv-hq"
    EMTD = "emtd"


def prepare(
    name: Annotated[Name, typer.Argument(help="Which set.", show_default=False)],
    lists: Annotated[Path, typer.Option(help="The authors' list, or the folder it lies in.")],
    videos: Annotated[Path, typer.Option(help="Folder of the source videos, searched with all below it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the clips; a run goes on where it stopped.")],
    limit: Annotated[int | None, typer.Option(min=1, help="So many clips, drawn by --seed; else all.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw; a larger --limit holds the smaller one.")] = 0,
    seconds: Annotated[float | None, typer.Option(help="At most so many from a clip's beginning; else all.")] = None,
    size: Annotated[
        int | None, typer.Option(min=64, max=4096, help="Longer side in pixels; else 512, for emtd 768.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Clips at once.")] = 1,
) -> None:
    """Cut a public test set out of videos that you have: spans, windows, 25 fps, 16 kHz. Nothing is downloaded.

    OUT/index.csv says what became of every clip of the list, OUT/SHA256SUMS is for sha256sum -c.
    """
    from talkies.evaluation.datasets.prepare import INDEX
    from talkies.evaluation.datasets.prepare import prepare as make

    if size is not None and size % 2:
        raise InputError(f"--size {size} is odd.", f"Give {size + 1}.")
    if seconds is not None and not 0.04 <= seconds <= 3600:
        raise InputError(f"--seconds {seconds:g} is out of range 0.04..3600.")
    counts: Counter[str] = Counter()
    steps = make(name.value, lists, videos, out, side=size, seconds=seconds, limit=limit, seed=seed, workers=workers)
    with closing(steps):  # no worker outlives Ctrl-C
        for step in steps:
            row = step.row
            counts[row.result] += 1
            if step.done == 0:
                typer.echo(f"{row.clip or 'list'}: {row.result}: {row.detail}", err=True)
                continue
            told = f"{'kept' if step.kept else 'made'}, {row.frames} frames" if row.result == "made" else row.result
            typer.echo(f"{step.done} of {step.total}  {row.clip}: {told}{f' ({row.detail})' if row.detail else ''}")
    for result, count in counts.most_common():
        typer.echo(f"{count:6d}  {result}")
    if not counts["made"]:
        raise InputError("No clip could be made.", f"Why stands in {out / INDEX}.")
    typer.echo(f"Index: {out / INDEX}")
