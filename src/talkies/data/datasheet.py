"""A footage set's datasheet: what is in it and what was left out, counted from the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from talkies.data.report import MADE, Row, summary
from talkies.data.settings import FootageSettings


def datasheet(rows: Sequence[Row], settings: FootageSettings) -> str:
    """Markdown after "Datasheets for Datasets" (Gebru et al. 2021)."""
    made = [row for row in rows if row.result == MADE]
    seconds = sum(row.frames for row in made) / 25
    people = Counter(row.people for row in made)
    table = [
        ("Clips", f"{len(made)}, {seconds / 60:.1f} minutes, from {len({row.video for row in made})} videos"),
        ("Length", f"{min((r.frames for r in made), default=0)} to {max((r.frames for r in made), default=0)} frames"),
        ("People per clip", ", ".join(f"{count}: {number} clips" for count, number in sorted(people.items())) or "-"),
        *((f"Median {name.replace('_', ' ')}", f"{value:.3g}") for name, value in _medians(made)),
    ]
    left_out = [(result, count, time) for result, count, time in summary(rows) if result != MADE]
    return _TEXT.format(
        name=settings.name,
        split=settings.split,
        table="\n".join(f"| {name} | {value} |" for name, value in table),
        left_out="\n".join(f"| {result} | {count} | {time / 60:.1f} |" for result, count, time in left_out)
        or "| nothing | 0 | 0 |",
    )


def _medians(rows: Sequence[Row]) -> list[tuple[str, float]]:
    names = sorted({name for row in rows for name in row.quality})
    found = {name: [v for row in rows if (v := row.quality.get(name)) is not None] for name in names}
    return [(name, float(np.median(values))) for name, values in found.items() if values]


_TEXT = """# {name}

Clips of real footage, made by `talkies data prepare`. Split: {split}.

| | |
|---|---|
{table}

Left out:

| why | clips or videos | minutes |
|---|---|---|
{left_out}

**What a clip holds.** Video (H.264, 25 fps), one 16 kHz voice track per person, per frame each face's box, whether the
person speaks, and masks; captions; a manifest that names the file, the second and the window it was cut from.

**How it was made.** Shots cut at sudden changes; faces found by CenterFace and followed; speech found by Silero VAD;
voices by the one face in the picture or by a file beside the video; masks grown from faces, as for generation.

**What it is not.** Nothing here was checked by a person. Masks are outlines, not hair by hair. That the voice heard
belongs to the one face seen is assumed, not measured: narrators pass. Captions are plain unless a model wrote them.

**Rights.** Those of the videos: the people in them and their makers decide what may be done with it.
"""
