"""`talkies evaluate align`: which sound of a recording is when, to compare lips with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talkies.domain.errors import InputError

EXAMPLES = """
[bold]Examples[/bold]

  talkies evaluate align voice.wav --text "Do you know multi talk?" --out voice.lab

  talkies evaluate measure film.mp4 --voice voice.wav --truth voice.lab        (what the phones are for)

English, as pocketsphinx knows it: write an unknown name as words that sound alike.
"""


def align(
    voice: Annotated[Path, typer.Argument(help="A recording, or a film with its sound.", show_default=False)],
    text: Annotated[str, typer.Option(help="What is said in it, word by word.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Label file, .lab: start, end and phone per line.")],
) -> None:
    """Find when each phone of a text is spoken in a recording (forced alignment), for `measure --truth`."""
    from talkies.evaluation.phones import write_phones
    from talkies.evaluation.sets import read_sound
    from talkies.stage.alignment import align as find_phones

    if out.suffix.lower() != ".lab":
        raise InputError(f"--out {out} is no label file.", "Name it .lab.")
    found = find_phones(read_sound(voice), text)
    write_phones(out, tuple((phone.label, phone.start, phone.end) for phone in found.phones))
    for word in found.words:
        typer.echo(f"{word.start:7.2f} {word.end:7.2f}  {word.text}")
