"""Decodes files from strangers and encodes them anew, each request in a process of its own, within limits.

`talkies.serving.uploads` starts this program. It loads the libraries once, then forks for every line of orders it reads
from standard input. What a decoder could be tricked into happens in the fork, which has little memory and little time
and writes small files only; its word is read as JSON of a known shape. The orders, in one line:

    {"limits": {...}, "answer": PATH, "files": [{"kind", "source", "target", "name"}]}

The fork answers in the file it was told, `{"files": [{"kind", "path", "width", "height", "seconds"}]}` or
`{"error", "index"}`, and when it has ended, however it ended, the program says `done`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

#: Rate recordings are kept at, in Hz.
RATE = 48_000


def limit_self(limits: dict[str, Any]) -> None:
    """Gives up, for good, whatever the work does not need."""
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["written_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        wanted = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(kind, (wanted, wanted))


def picture(source: Path, target: Path, limits: dict[str, Any]) -> dict[str, Any]:
    """Any readable picture, upright, as an 8-bit RGB PNG without its metadata."""
    from talkies.media.image import load_image

    _require_pixels(source, limits)
    image = load_image(source)
    path = target.with_suffix(".png")
    image.save(path, format="PNG", compress_level=3)
    return {"kind": "image", "path": path.name, "width": image.width, "height": image.height}


def mask(source: Path, target: Path, size: tuple[int, int]) -> dict[str, Any]:
    """A mask of the picture's size as a black-and-white PNG."""
    from PIL import Image

    from talkies.media.image import load_mask

    path = target.with_suffix(".png")
    Image.fromarray(load_mask(source, size).astype("uint8") * 255).save(path, format="PNG")
    return {"kind": "image", "path": path.name, "width": size[0], "height": size[1]}


def sound(source: Path, target: Path, limits: dict[str, Any]) -> dict[str, Any]:
    """Any readable sound as 16-bit FLAC, one or two channels, without its metadata."""
    import numpy as np
    import soundfile

    from talkies.domain.errors import InputError
    from talkies.media.audio import MIN_SECONDS, decode

    longest = int(limits["audio_seconds"] * RATE)
    channels = 1 if _channels(source) == 1 else 2
    path, count = target.with_suffix(".flac"), 0
    with soundfile.SoundFile(path, "w", RATE, channels, "PCM_16") as file:
        for block in decode(source, RATE, channels):
            count += len(block)
            if count > longest:
                raise InputError(f"The recording is longer than {limits['audio_seconds']:g} s.")
            file.write(np.clip(block, -1, 1))
    if count < MIN_SECONDS * RATE:
        raise InputError(f"The recording holds only {count / RATE:.3f} s of sound.")
    return {"kind": "audio", "path": path.name, "seconds": count / RATE}


def _require_pixels(source: Path, limits: dict[str, Any]) -> None:
    from PIL import Image

    from talkies.domain.errors import InputError
    from talkies.media.image import FORMATS

    Image.MAX_IMAGE_PIXELS = None  # our own limit applies, with its own words
    try:
        with Image.open(source, formats=FORMATS) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError):
        raise InputError("The picture is not one that can be read.", f"Readable: {', '.join(FORMATS)}.") from None
    if width * height > limits["image_pixels"]:
        raise InputError(
            f"The picture is {width}x{height}: more than {limits['image_pixels'] // 1_000_000} megapixels."
        )


def _channels(source: Path) -> int:
    from talkies.media.audio import _audio_stream, _open

    with source.open("rb") as file, _open(file, source) as container:
        return _audio_stream(container, source).codec_context.channels


def _is_picture(source: Path) -> bool:
    from PIL import Image

    from talkies.media.image import FORMATS

    try:
        with Image.open(source, formats=FORMATS):
            return True
    except Exception:  # whatever it is, it is not a picture
        return False


def _one(entry: dict[str, Any], limits: dict[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    source, target, kind = Path(entry["source"]), Path(entry["target"]), entry["kind"]
    if kind == "any":
        kind = "image" if _is_picture(source) else "audio"
    if kind == "mask" and size is not None:
        return mask(source, target, size)
    return picture(source, target, limits) if kind in ("image", "mask") else sound(source, target, limits)


def obey(orders: dict[str, Any]) -> None:
    """Limits itself, re-encodes, answers."""
    from talkies.domain.errors import TalkiesError

    limits = orders["limits"]
    limit_self(limits)
    done: list[dict[str, Any]] = []
    size: tuple[int, int] | None = tuple(orders["size"]) if orders.get("size") else None
    answer: dict[str, Any] = {"files": done}
    for index, entry in enumerate(orders["files"]):
        try:
            done.append(_one(entry, limits, size))
        except TalkiesError as error:
            answer = {"error": str(error).replace(Path(entry["source"]).name, entry["name"]), "index": index}
            break
        except MemoryError:
            answer = {"error": "It needs more memory than is granted.", "index": index}
            break
        except Exception as error:
            answer = {"error": f"It cannot be decoded ({type(error).__name__}).", "index": index}
            break
        if size is None and entry["kind"] == "image":
            size = done[-1]["width"], done[-1]["height"]
    Path(orders["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _load_libraries() -> None:
    import av  # noqa: F401
    import soundfile  # noqa: F401
    from PIL import Image

    import talkies.media.audio
    import talkies.media.image  # noqa: F401

    Image.init()


def main() -> None:
    """Forks for every line of orders, until there are no more."""
    os.nice(10)  # whoever asks how a video stands does not wait for somebody else's upload
    _load_libraries()
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):  # neither further orders nor answers are the fork's business
                os.dup2(nothing, number)
            try:
                obey(json.loads(line))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
