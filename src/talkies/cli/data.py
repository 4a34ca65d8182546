"""`talkies data`: clips out of footage of real people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkies.domain.errors import InputError

if TYPE_CHECKING:
    from talkies.data.captions import Seen
    from talkies.data.prepare import Runner
    from talkies.data.settings import FootageSettings

app = typer.Typer(help="Clips for training and tests out of footage of real people.", no_args_is_help=True)

_EXAMPLES = """
[bold]Examples[/bold]

  talkies data prepare interview.mp4 --out clips

  talkies data prepare films/ --out clips --size 832x480 --workers 8 --captioner Qwen/Qwen3-VL-4B-Instruct

  talkies data prepare /shared/films --out /shared/clips --ray auto --workers 64

  talkies stage show clips --out sheet.jpg        (what the clips look like)

Two people? Beside duo.mp4, write duo.voices.json, people counted from the left: {"voices": ["ann.wav", "bob.wav"]}
or {"turns": [{"person": 0, "start": 0, "end": 2.5}, ...]}. See docs/data.md.
"""


@dataclass(frozen=True)
class ModelCaptions:
    """Captions by a vision-language model, then the plain ones.

    Attributes:
        model: Folder or id; it is loaded where the work is done.
    """

    model: str

    def __call__(self, seen: Seen) -> tuple[str, ...]:
        """Raises TalkiesError where the model fails or is not here."""
        from talkies.data.captions import PlainCaptions, who_does_what
        from talkies.pipelines.captioner import find_captioner

        captioner = find_captioner(self.model)
        if captioner is None:
            raise InputError(f"There is no captioning model {self.model!r} here.")
        return captioner.caption(seen.picture, who_does_what(seen.speakers)), *PlainCaptions()(seen)


@app.callback()
def _root() -> None:
    """Clips for training and tests out of footage of real people."""


@app.command(epilog=_EXAMPLES)
def prepare(
    videos: Annotated[list[Path], typer.Argument(help="Videos, or folders of them.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the set; a run goes on where it stopped.")],
    name: Annotated[str, typer.Option(help="Of the set.")] = "footage",
    split: Annotated[str, typer.Option(help="train or test; give a person to one of them only.")] = "train",
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of clips; else 160x192 for one, 320x192 for two, ...")
    ] = None,
    frames: Annotated[str, typer.Option(help="Shortest and longest clip at 25 fps, 4n+1 each.")] = "33-129",
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Changes a limit of quality, e.g. sharpness=4.")
    ] = None,
    captioner: Annotated[str | None, typer.Option(help="Folder or id of a Qwen-VL that describes clips.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: auto, ray://HOST:10001, or here.")
    ] = None,
) -> None:
    """Cut videos into clips of talking people: shots, faces, voices, masks, captions, quality.

    Clips are written as WebDataset shards in the stage's format. NAME.report.csv says what became of every shot and
    every file; videos that cannot be read are rows there, too.
    """
    from talkies.data.parts import Helpers
    from talkies.data.prepare import all_rows
    from talkies.data.prepare import prepare as make
    from talkies.data.report import Row, summary

    settings = _settings(name, split, size, frames, limit or [])
    if captioner is not None:
        from talkies.pipelines.captioner import find_captioner

        find_captioner(captioner)  # complains now rather than in every row
        helpers = Helpers(describe=ModelCaptions(captioner))
    else:
        helpers = Helpers()
    unusable: list[Row] = []
    for number, (done, total, rows) in enumerate(make(videos, out, settings, helpers, _runner(ray, workers))):
        good = sum(row.key != "" for row in rows)
        if number == 0:
            unusable = rows
            for row in rows:
                typer.echo(f"{row.video}: {row.result}: {row.detail}", err=True)
            typer.echo(f"{done} of {total} parts were done before")
        else:
            typer.echo(f"{done} of {total} parts, {good} of {len(rows)} clips good in {rows[0].video if rows else '-'}")
    for result, count, seconds in summary([*all_rows(out, settings.name), *unusable]):
        typer.echo(f"{count:6d}  {seconds / 60:8.1f} min  {result}")
    typer.echo(f"Report: {out / f'{settings.name}.report.csv'}")


def _runner(ray: str | None, workers: int) -> Runner:
    if ray is not None:
        from talkies.data.on_ray import RayWorkers

        return RayWorkers(ray, workers)
    from talkies.data.prepare import Workers

    return Workers(workers)


def _settings(name: str, split: str, size: str | None, frames: str, limits: list[str]) -> FootageSettings:
    """Options as settings.

    Raises:
        InputError: One of them makes no sense.
    """
    from pydantic import ValidationError

    from talkies.data.settings import FootageSettings
    from talkies.domain.clip import FrameSize

    shortest, _, longest = frames.partition("-")
    if not (shortest.isdigit() and longest.isdigit()):
        raise InputError(f"--frames {frames} is no range.", "Write 33-129.")
    found = FrameSize.parse(size) if size is not None else None
    changed = {}
    for text in limits:
        key, given, value = text.partition("=")
        if not given:
            raise InputError(f"--limit {text} is not NAME=VALUE.", "For example sharpness=4.")
        changed[key.strip().replace("-", "_")] = value.strip()
    try:
        return FootageSettings.model_validate({
            "name": name, "split": split, "size": (found.width, found.height) if found else None,
            "shortest": int(shortest), "longest": int(longest), "limits": changed,
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            raise cause from None
        where = "limit " + ".".join(map(str, first["loc"][1:])) if first["loc"][:1] == ("limits",) else first["loc"][0]
        raise InputError(f"--{where}: {first['msg']}.", "See talkies data prepare --help.") from None
