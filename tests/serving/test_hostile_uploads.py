"""A corpus of hostile files: each is refused with a reason, soon, and nothing of it stays on the disk."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from PIL import Image
from starlette.testclient import TestClient

from service_cases import LIMITS, everything_below, form, picture, voice
from talkies.serving.errors import ApiError
from talkies.serving.uploads import Sanitizer, Source


def _png_of(width: int, height: int) -> bytes:
    """A PNG that claims any size and holds one row of zeros, compressed a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _long_flac(seconds: int) -> bytes:
    """Silence, which compresses to almost nothing."""
    import numpy as np

    file = io.BytesIO()
    soundfile.write(file, np.zeros(8_000 * seconds, np.int16), 8_000, format="FLAC")
    return file.getvalue()


def _day_wav() -> bytes:
    """A header that claims 24 hours, over half a second of sound."""
    sound = bytearray(voice())
    claimed = 24 * 3600 * 32_000
    struct.pack_into("<I", sound, 4, claimed + 36)
    struct.pack_into("<I", sound, sound.index(b"data") + 4, claimed)
    return bytes(sound)


def _svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def _playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def _concat() -> bytes:
    return b"ffconcat version 1.0\nfile /etc/passwd\n"


def _postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file\n"


def _thin() -> bytes:
    return _png_of(100_000, 60)


def _animation() -> bytes:
    frames = [Image.new("P", (10, 10), index % 200) for index in range(500)]
    file = io.BytesIO()
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\0",
    "text": lambda: b"hello " * 100,
    "truncated PNG": lambda: picture()[:200],
    "truncated JPEG": lambda: picture(form="JPEG")[:300],
    "bit flips": lambda: picture()[:60] + bytes(byte ^ 0x55 for byte in picture()[60:]),
    "bomb of 100,000 x 100,000": lambda: _png_of(100_000, 100_000),
    "100,000 pixels wide": _thin,
    "2^31 pixels wide": lambda: _png_of(2**31 - 1, 2**31 - 1),
    "no pixels": lambda: _png_of(0, 0),
    "too small": _animation,
    "SVG": _svg,
    "PostScript": _postscript,
    "HTML": lambda: b"<html><script>alert(1)</script></html>",
    "zip": lambda: b"PK\x03\x04" + b"\0" * 100,
    "sound": voice,
    "pickle": lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
}
SOUNDS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"hello " * 100,
    "truncated": lambda: voice()[:40],
    "picture": picture,
    "playlist": _playlist,
    "concat": _concat,
    "an hour of silence in little": lambda: _long_flac(600),
    "too short": lambda: voice(0.01),
    "SVG": _svg,
    "FLAC header alone": lambda: voice(form="FLAC")[:60],
    "MIDI": lambda: b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0",
}


def _refused(client: TestClient, root: Path, **changes: bytes) -> str:
    request = form()
    for part, data in changes.items():
        request["files"][part] = ("../../../evil\0.png", data)
    before = everything_below(root)
    answer = client.post("/v1/videos", **request)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == "invalid_file" and "refused" in error["message"], error
    assert str(root) not in answer.text and "/tmp" not in answer.text  # noqa: S108
    assert everything_below(root) == before
    assert client.get("/v1/videos").json()["data"] == []
    return str(error["message"])


def test_pictures(tmp_path: Path) -> None:
    sanitizer = Sanitizer(LIMITS)
    for name, make in PICTURES.items():
        _check_refused(sanitizer, tmp_path, name, make(), "image")


def test_sounds(tmp_path: Path) -> None:
    sanitizer = Sanitizer(LIMITS)
    for name, make in SOUNDS.items():
        _check_refused(sanitizer, tmp_path, name, make(), "audio")


def _check_refused(sanitizer: Sanitizer, folder: Path, name: str, data: bytes, kind: str) -> None:
    raw, target = folder / "raw", folder / "target"
    raw.write_bytes(data)
    with pytest.raises(ApiError) as refused:
        sanitizer.run([Source(raw, kind, target, "input_reference")])  # type: ignore[arg-type]
    assert refused.value.status == 400 and "input_reference was refused: " in str(refused.value), name
    assert str(folder) not in str(refused.value), (name, str(refused.value))
    assert {path.name for path in folder.iterdir()} == {"raw"}, name


def test_through_the_service(client: TestClient, tmp_path: Path) -> None:
    root = tmp_path / "queue"
    assert "megapixels" in _refused(client, root, input_reference=_png_of(100_000, 100_000))
    assert "longer than 5 s" in _refused(client, root, ben=_long_flac(600))
    assert client.post("/v1/files", files={"file": ("x", _svg())}).status_code == 400
    assert everything_below(root) == set()


def test_a_header_that_claims_a_day_counts_for_what_is_there(client: TestClient) -> None:
    request = form()
    request["files"]["ana"] = ("a.wav", _day_wav())
    answer = client.post("/v1/videos", **request)
    assert answer.status_code == 200 and answer.json()["seconds"] == "0.9"


def test_what_is_kept_is_encoded_anew_without_what_was_hidden_in_it(client: TestClient, tmp_path: Path) -> None:
    hidden = b"<?php system($_GET[1]); ?> GPS 52.5N"
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = hidden.decode()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (160, 96)).save(file, format="JPEG", exif=exif)
    request = form()
    request["files"]["input_reference"] = ("x.php", file.getvalue() + b"PK\x03\x04" + hidden)
    assert client.post("/v1/videos", **request).status_code == 200
    (kept,) = (tmp_path / "queue").rglob("image-*.png")
    assert hidden not in kept.read_bytes() and Image.open(kept).size == (96, 160)
    assert not any("php" in path.name for path in (tmp_path / "queue").rglob("*"))


@pytest.mark.parametrize("limits", [{"memory_bytes": 60_000_000}, {"wall_seconds": 0.01}])
def test_what_takes_too_much_is_killed_and_said_so(tmp_path: Path, limits: dict[str, float]) -> None:
    from dataclasses import replace

    raw = tmp_path / "raw"
    raw.write_bytes(picture(2_000, 1_900))
    with pytest.raises(ApiError, match=r"than is granted|MemoryError") as refused:
        Sanitizer(replace(LIMITS, **limits)).run([Source(raw, "image", tmp_path / "t", "file")])  # type: ignore[arg-type]
    assert refused.value.status == 400 and {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_masks_must_fit_their_picture(client: TestClient) -> None:
    request = form(speakers='[{"audio": "attach://ana", "region": {"mask": "attach://mask"}}]')
    request["files"]["mask"] = ("m.png", picture(80, 48))
    refused = client.post("/v1/videos", **request)
    assert refused.status_code == 400 and "size" in refused.json()["error"]["message"]
    request["files"]["mask"] = ("m.png", picture())
    assert client.post("/v1/videos", **request).status_code == 200
