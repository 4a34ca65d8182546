"""Video in: 25 frames per second whatever comes, and plain words for what cannot be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.evaluation.video import VideoFile


def write(path: Path, count: int, rate: Fraction, size: tuple[int, int] = (48, 64)) -> Path:
    """A video whose n-th picture is n grey levels bright (times five)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p"
        for number in range(count):
            picture = np.full((*size, 3), 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("rate", "count", "expected"), [(25, 20, 20), (50, 40, 20), (30, 30, 25), (10, 8, 20), (12, 3, 6)]
)
def test_any_rate_becomes_25(tmp_path: Path, rate: int, count: int, expected: int) -> None:
    frames = VideoFile(write(tmp_path / "a.mp4", count, Fraction(rate))).read()
    assert frames.shape == (expected, 48, 64, 3)
    shown = np.rint(frames.mean((1, 2, 3)) / 5).astype(int)
    assert (np.abs(shown - np.floor((np.arange(expected) + 0.5) / 25 * rate)) <= 1).all()


def test_blocks_are_the_whole(tmp_path: Path) -> None:
    video = VideoFile(write(tmp_path / "a.mp4", 20, Fraction(25)))
    blocks = list(video.blocks(8))
    assert [len(block) for block in blocks] == [8, 8, 4]
    assert (np.concatenate(blocks) == video.read()).all()
    with pytest.raises(InputError, match="more than 10 frames"):
        video.read(limit=10)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video"):
        VideoFile(tmp_path / "missing.mp4").read()
    (tmp_path / "broken.mp4").write_bytes(b"\x00" * 4000)
    with pytest.raises(InputError, match="broken"):
        VideoFile(tmp_path / "broken.mp4").read()
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    with pytest.raises(InputError):
        VideoFile(tmp_path / "list.m3u8").read()
    whole = write(tmp_path / "a.mp4", 40, Fraction(25)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match="broken"):
        VideoFile(tmp_path / "cut.mp4").read()
