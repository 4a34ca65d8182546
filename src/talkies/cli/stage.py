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
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tracks; a run goes on where it stopped.")],
    people: Annotated[int, typer.Option(min=1, help="How many people.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="Seed of the first person; from 1000000 on: test people.")] = 0,
    tracks_per_person: Annotated[int, typer.Option(min=1, max=128, help="Tracks of each.")] = 8,
    frames: Annotated[int, typer.Option(min=1, help="Frames per track at 25 fps.")] = 57,
    size: Annotated[str, typer.Option(help="Pixels: 192 or 192x320 (height x width).")] = "192",
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    texture: Annotated[int, typer.Option(min=128, max=4096, help="Texels of the face's picture.")] = 512,
    framing: Annotated[str, typer.Option(help="`shoulders`, or `face` for faces twice as large.")] = "shoulders",
    assets: Assets = None,
) -> None:
    """Film single people on a transparent ground: RGBA frames, speech, motion and measured truth."""
    from talkies.stage.assets import AssetPack
    from talkies.stage.footage import FootageSettings, film

    height, width = parse_size(size)
    folder = str(AssetPack.open(assets).root.resolve()) if assets is not None else ""
    if framing not in {"shoulders", "face"}:
        raise InputError(f"--framing {framing} is not known.", "Write shoulders or face.")
    settings = FootageSettings(
        frames=frames, height=height, width=width, texture=texture, assets=folder,
        framing=framing,  # type: ignore[arg-type]
    )  # fmt: skip
    began = time.perf_counter()
    for done, filmed in film(out, people, first, tracks_per_person, settings, workers):
        rate = filmed * frames / (time.perf_counter() - began)
        typer.echo(f"{done} of {people} people, {filmed} new tracks, {rate:.0f} frames/s")


@app.command()
def render(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards; a run goes on where it stopped.")],
    sets: Annotated[str, typer.Option("--set", help="Names of sets, separated by commas, or `all`.")] = "all",
    clips: Annotated[int | None, typer.Option(min=1, help="Clips per set; the set's own number without it.")] = None,
    size: Annotated[str, typer.Option(help="Pixels, height x width; every set's own without it.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    texture: Annotated[int, typer.Option(min=128, max=4096, help="Texels of the face's picture.")] = 512,
    speech_cache: Annotated[Path | None, typer.Option(help="Folder that keeps spoken sentences between runs.")] = None,
    assets: Assets = None,
) -> None:
    """Make sets of clips with sound, labels and captions, as WebDataset shards with checksums and a datasheet."""
    from talkies.stage.assets import AssetPack
    from talkies.stage.clips import SETS
    from talkies.stage.shards import write_set

    names = list(SETS) if sets == "all" else [name.strip() for name in sets.split(",")]
    unknown = [name for name in names if name not in SETS]
    if unknown:
        raise InputError(f"There is no set {unknown[0]}.", f"Choose from {', '.join(SETS)}, or all.")
    folder = str(AssetPack.open(assets).root.resolve()) if assets is not None else ""
    cache = str(speech_cache.resolve()) if speech_cache is not None else ""
    for name in names:
        for done, total in write_set(
            out, name, clips, assets=folder, texture=texture, workers=workers, speech_cache=cache,
            size=parse_size(size) if size else None,
        ):  # fmt: skip
            typer.echo(f"{name}: {done} of {total} shards")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of `stage render` or `stage tracks`.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A picture (.png, .jpg) for a contact sheet, a video (.mp4) for a film.")
    ],
    name: Annotated[str, typer.Option(help="Only shards or tracks whose names begin so.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How many clips.")] = 24,
    columns: Annotated[int, typer.Option(min=1, help="Clips per row.")] = 4,
    moments: Annotated[int, typer.Option(min=1, help="Frames of each clip on a sheet.")] = 1,
) -> None:
    """A contact sheet or a side-by-side film of clips or tracks."""
    from talkies.stage.show import contact_sheet, find_clips, save_picture, side_by_side

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".mp4"):
        raise InputError(f"--out {out} is neither picture nor video.", "Name it .png, .jpg or .mp4.")
    clips = find_clips(folder, count, name)
    if out.suffix.lower() == ".mp4":
        side_by_side(clips, columns, out)
    else:
        save_picture(contact_sheet(clips, columns, moments), out)
    for clip in clips:
        typer.echo(f"{clip.name}  {clip.caption}")


@app.command()
def people(
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture, .png or .jpg.")],
    first: Annotated[int, typer.Option(min=0, help="Seed of the first person; from 1000000 on: test people.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many people.")] = 40,
    columns: Annotated[int, typer.Option(min=1, help="People per row.")] = 8,
    side: Annotated[int, typer.Option(min=32, max=1024, help="Pixels per portrait.")] = 128,
    assets: Assets = None,
) -> None:
    """Portraits of people by their seeds."""
    from talkies.stage.show import contact_sheet, portraits, save_picture

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"--out {out} is no picture.", "Name it .png or .jpg.")
    shown = portraits(first, count, side, assets)
    save_picture(contact_sheet(shown, columns), out)
    for person in shown:
        typer.echo(f"{person.name}  {person.caption}")


@app.command(name="film")
def film_clip(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .mp4, .webm or .gif.")],
    set_name: Annotated[str, typer.Option("--set", help="Set the clip is of.")] = "test-dual",
    index: Annotated[int, typer.Option(min=0, help="Number of the clip.")] = 0,
    scale: Annotated[float, typer.Option(min=0.1, max=8, help="Size, in the set's own.")] = 2.0,
    assets: Assets = None,
) -> None:
    """Film one clip with sound, to watch: e.g. `talkies stage film -o duo.mp4`."""
    from talkies.stage.screening import screen

    clip = screen(set_name, index, scale, out, assets)
    typer.echo(f"{out}: {clip.captions[0]}")


@app.command()
def captions(
    out: Annotated[Path, typer.Option("--out", "-o", help="Text file, a caption a line.")],
    sets: Annotated[str, typer.Option("--set", help="Names of sets, separated by commas.")] = "train-head,train-dual",
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Captions per set.")] = 1000,
) -> None:
    """Write captions of clips without filming them: words to learn from."""
    from talkies.media.staging import staged
    from talkies.stage.clips import SETS
    from talkies.stage.corpus import sample_captions

    names = [name.strip() for name in sets.split(",")]
    if unknown := [name for name in names if name not in SETS]:
        raise InputError(f"There is no set {unknown[0]}.", f"Choose from {', '.join(SETS)}.")
    with staged(out) as scratch, scratch.open("w", encoding="utf-8") as file:
        for name in names:
            file.writelines(f"{caption}\n" for caption in sample_captions(name, 0, count))


@app.command()
def example(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for photo.png, the voices and conversation.yaml.")],
    set_name: Annotated[str, typer.Option("--set", help="Set the clip is of.")] = "test-dual",
    index: Annotated[int, typer.Option(min=0, help="Number of the clip.")] = 0,
    scale: Annotated[float, typer.Option(min=0.1, max=8, help="Size, in the set's own.")] = 3.0,
    silent: Annotated[list[int] | None, typer.Option(help="A person (from 1) who is to stay silent.")] = None,
    say: Annotated[
        list[str] | None,
        typer.Option(help="What is said instead, once for every turn, from left to right and over again."),
    ] = None,
    assets: Assets = None,
) -> None:
    """Write a clip's first frame and voices as an input of `talkies generate`."""
    from talkies.stage.example import write_example

    typer.echo(write_example(out, set_name, index, scale, assets, tuple(silent or ()), tuple(say or ())))


@app.command()
def bench(
    people: Annotated[int, typer.Option(min=1, max=4, help="In the picture.")] = 2,
    size: Annotated[str, typer.Option(help="Pixels, height x width.")] = "192x320",
    workers: Annotated[int, typer.Option(min=1, help="Processes at the same time.")] = 1,
    assets: Assets = None,
) -> None:
    """Measure how many frames per second this machine draws."""
    from talkies.stage.speed import together

    height, width = parse_size(size)
    results = together(workers, people, height, width, str(assets.resolve()) if assets else "")
    for number, (wall, processor, build) in enumerate(results):
        typer.echo(
            f"worker {number}: {wall:.1f} frames/s, {processor:.1f} per second of processor time, "
            f"{build:.2f} s of processor time per figure"
        )
    typer.echo(f"together {sum(wall for wall, _, _ in results):.1f} frames/s ({people} people, {size})")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of `stage render` or `stage tracks`.")],
    frames: Annotated[int, typer.Option(min=1, help="Random frames in which faces are looked for.")] = 500,
    name: Annotated[str, typer.Option(help="Only shards or tracks whose names begin so.")] = "",
) -> None:
    """Check clips or tracks: are faces found, lips shut on p, b and m, listeners quiet?"""
    from talkies.stage.check import check as examine

    found = examine(folder, frames, name=name)
    typer.echo(f"faces found: {100 * found.found / found.faces:.1f} % of {found.faces}, {found.extra} false")
    if found.closures:
        typer.echo(f"lips closed on p, b, m: {100 * found.closed / found.closures:.1f} % of {found.closures}")
    if found.speaking > 0 and found.silent >= 0:  # both are there: not NaN
        ratio = 100 * found.silent / found.speaking
        typer.echo(f"lip opening of silent people: {ratio:.2f} % of that of speakers")
