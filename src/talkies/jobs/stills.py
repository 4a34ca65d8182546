"""The pictures that go with a finished video: one large, and a sheet of many small ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from talkies.domain.errors import TalkiesError
from talkies.media.staging import staged

#: Pictures on a sheet: columns and rows.
SHEET = (5, 4)
#: Width of a picture on the sheet, in pixels.
TILE = 240


def write_stills(video: Path, thumbnail: Path, sheet: Path) -> dict[str, Any]:
    """Decodes a video once, to its end, and writes its pictures.

    Args:
        video: A finished video.
        thumbnail: WebP: the frame a third of the way in.
        sheet: JPEG: `SHEET` pictures evenly spread, row by row.

    Returns:
        `bytes`, `sha256`, `frames`, `width`, `height` and `seconds` of the video.

    Raises:
        TalkiesError: It cannot be decoded, so it is not whole.
    """
    import av
    from PIL import Image

    columns, rows = SHEET
    try:
        with av.open(str(video)) as file:
            stream = file.streams.video[0]
            count = sum(1 for packet in file.demux(stream) if packet.size)
            if not count:
                raise TalkiesError(f"{video.name} holds no picture.")
            large = count // 3
            wanted = [index * count // (columns * rows) for index in range(columns * rows)]
            file.seek(0)
            tiles: dict[int, Image.Image] = {}
            size, frames = (0, 0), 0
            for frame in file.decode(video=0):
                if frames in wanted or frames == large:
                    picture = frame.to_image()
                    size = picture.size
                    if frames == large:
                        with staged(thumbnail) as temporary:
                            picture.save(temporary, format="WEBP", quality=85)
                    picture.thumbnail((TILE, TILE * 4))
                    tiles[frames] = picture
                frames += 1
            rate = stream.average_rate or 25
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise TalkiesError(f"{video.name} is not whole: {error}.") from None
    width, height = tiles[0].size
    canvas = Image.new("RGB", (columns * width, rows * height))
    for place, index in enumerate(wanted):
        canvas.paste(tiles[index], (place % columns * width, place // columns * height))
    with staged(sheet) as temporary:
        canvas.save(temporary, format="JPEG", quality=85)
    with video.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"bytes": video.stat().st_size, "sha256": digest, "frames": frames, "width": size[0], "height": size[1],
            "seconds": round(float(frames / rate), 3)}  # fmt: skip
