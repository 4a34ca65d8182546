"""`talkies stage`: synthetic people who talk to each other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from talkies.domain.errors import InputError

app = typer.Typer(help="Synthetic people who talk to each other, with exact truth.", no_args_is_help=True)

Assets = Annotated[
    Path | None, typer.Option(help="Folder of a MakeHuman asset pack (hair/, clothes/); home-made ones without it.")
]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from `192` or `192x320` (height x width).

    Raises:
        InputError: Neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise InputError(f"--size {text} is not a size.", "Write 192 or 192x320 (height x width).")
    height, width = int(parts[0]), int(parts[-1])
    return height, width


@app.command()
def tracks(
    out: Annotated[Path, typer.Option(help="Folder for the tracks; a run goes on where it stopped.")],
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="Seed of the first person; from 1000000 on: test people.")] = 0,
    tracks_per_person: Annotated[int, typer.Option(min=1, max=128, help="Tracks of each.")] = 8,
    frames: Annotated[int, typer.Option(min=1, help="Frames per track at 25 fps.")] = 57,
    size: Annotated[str, typer.Option(help="Pixels: 192 or 192x320 (height x width).")] = "192",
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    texture: Annotated[int, typer.Option(min=128, max=4096, help="Texels of the face's picture.")] = 512,
    assets: Assets = None,
) -> None:
    """Film single people on a transparent ground: RGBA frames, speech, motion and measured truth."""
    from talkies.stage.assets import AssetPack
    from talkies.stage.footage import FootageSettings, film

    height, width = parse_size(size)
    folder = str(AssetPack.open(assets).root.resolve()) if assets is not None else ""
    settings = FootageSettings(frames=frames, height=height, width=width, texture=texture, assets=folder)
    began = time.perf_counter()
    for done, filmed in film(out, people, first, tracks_per_person, settings, workers):
        rate = filmed * frames / (time.perf_counter() - began)
        typer.echo(f"{done} of {people} people, {filmed} new tracks, {rate:.0f} frames/s")
