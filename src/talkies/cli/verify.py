"""`talkies verify`: what a file says about where it comes from, and whether that still holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from talkies.provenance.watermark import Mark

_FRAMES = 50


def verify(
    video: Annotated[Path, typer.Argument(help="A video, picture, or folder of pictures.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Read content credentials, the invisible mark and the record of a file. Exit code 1: none, or not intact."""
    from talkies.domain.errors import InputError
    from talkies.provenance import credentials
    from talkies.provenance.record import sha256_of, sidecar_path

    if not video.exists():
        raise InputError(f"There is no file {video}.")
    video = video.resolve()  # `.` has no name of its own, and so no record beside it
    signed = credentials.read(video) if video.is_file() else None
    mark = _mark(video)
    record = _sidecar(sidecar_path(video))
    same = None
    if record is not None and video.is_file() and record.get("video_sha256"):
        same = record["video_sha256"] == sha256_of(video)
    intact = (signed is None or signed.intact) and same is not False
    found = signed is not None or mark is not None or record is not None
    if as_json:
        typer.echo(json.dumps({
            "credentials": None if signed is None else vars(signed), "mark": None if mark is None else vars(mark),
            "record": record, "record_matches": same, "intact": intact if found else None,
        }, indent=2, ensure_ascii=False))  # fmt: skip
    else:
        for line in _lines(signed, mark, record, same):
            typer.echo(line)
    raise typer.Exit(0 if found and intact else 1)


def _lines(signed: Any, mark: Mark | None, record: dict[str, Any] | None, same: bool | None) -> Iterator[str]:
    if signed is None:
        yield "content credentials  none"
    elif signed.intact:
        vouched = "vouched for by a known authority" if signed.trusted else "self-made key: says what, not who"
        yield f"content credentials  intact, signed by {signed.signer} ({vouched})"
        yield f"made by              {signed.generator}{', AI-generated' if signed.ai_generated else ''}"
    else:
        yield f"content credentials  BROKEN: the file was changed after signing ({', '.join(signed.problems)})"
    if mark is None:
        yield "invisible mark       none"
    else:
        yield f"invisible mark       made with Talkies, number {mark.identity:04x}, strength {mark.strength:.0%}"
    details = record or (signed.record if signed is not None else None)
    if record is None:
        yield "record beside it     none"
    else:
        holds = {True: "belongs to this very file", False: "BROKEN: the file has changed", None: "found"}[same]
        yield f"record beside it     {holds}"
    if details:
        yield f"model                {details.get('model')}, seed {details.get('seed')}"
        yield f"made from            {', '.join(str(entry.get('name')) for entry in details.get('sources', []))}"
        yield f"consent              {(details.get('consent') or {}).get('statement')}"


def _mark(path: Path) -> Mark | None:
    """The invisible mark, from frames of a video or pictures of a folder."""
    from talkies.provenance.watermark import Watermark, can_mark

    frames = _frames(path)
    first = next(frames, None)
    if first is None or not can_mark(first.shape[1], first.shape[0]):
        return None
    same = (frame for frame in frames if frame.shape == first.shape)
    return Watermark(first.shape[1], first.shape[0]).read([first, *islice(same, _FRAMES - 1)])


def _frames(path: Path) -> Iterator[Any]:
    import av
    import numpy as np

    from talkies.media.colours import as_rgb

    if path.is_dir():
        from talkies.media.image import load_image

        for picture in sorted(path.glob("*.png")):
            yield np.asarray(load_image(picture))
        return
    try:
        with path.open("rb") as file, av.open(file, "r", options={"protocol_whitelist": "none"}) as container:
            if not container.streams.video:
                return
            for frame in container.decode(video=0):
                yield as_rgb(frame)
    except (av.error.FFmpegError, OSError, ValueError):
        return


def _sidecar(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < 10_000_000 else None
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and "generator" in data else None
