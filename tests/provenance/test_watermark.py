"""The invisible mark: invisible, read back after encoding, never found where it is not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from talkies.domain.clip import FrameSize
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.provenance.watermark import Watermark, can_mark

WIDTH, HEIGHT = 320, 192


def film(count: int, seed: int = 0) -> np.ndarray:
    """Smooth colours that drift, with a little grain: `[count, 192, 320, 3]`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    phases = rng.uniform(0, 6, (3, 3))
    frames = [
        np.stack(
            [
                128 + 80 * np.sin(columns / 41 + a + k / 9) * np.cos(rows / 29 + b) + 20 * np.sin(c + k / 5)
                for a, b, c in phases
            ],
            -1,
        )
        for k in range(count)
    ]
    return np.clip(np.stack(frames) + rng.normal(0, 3, (count, HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("identity", [0, 0xBEEF, 0xFFFF])
def test_it_is_invisible_and_read_back(identity: int) -> None:
    frames, mark = film(3), Watermark(WIDTH, HEIGHT)
    marked = mark.embed(frames, identity)
    error = np.mean((marked.astype(float) - frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 42
    found = mark.read(marked)
    assert found is not None
    assert found.identity == identity
    assert found.strength > 0.7


def test_smooth_grounds_stay_smooth() -> None:
    """Left a ground without grain, right one with: what is changed is changed at the right."""
    frames = np.full((1, HEIGHT, WIDTH, 3), 120, np.uint8)
    frames[:, :, WIDTH // 2 :] += np.random.default_rng(0).integers(0, 40, (1, HEIGHT, WIDTH // 2, 1), dtype=np.uint8)
    mark = Watermark(WIDTH, HEIGHT)
    marked = mark.embed(frames, 0x1234)
    change = np.abs(marked.astype(int) - frames).mean((0, 1, 3))
    assert change[: WIDTH // 2].mean() < 0.2 * change[WIDTH // 2 :].mean()
    found = mark.read(marked)
    assert found is not None and found.identity == 0x1234


@pytest.mark.parametrize("crf", [17, 23])
def test_it_survives_encoding(tmp_path: Path, crf: int) -> None:
    mark = Watermark(WIDTH, HEIGHT)
    with (
        staged(tmp_path / "a.mp4") as path,
        VideoWriter(path, FrameSize(WIDTH, HEIGHT), VideoSettings(crf=crf)) as writer,
    ):
        writer.write(mark.embed(film(20), 0x1234))
    with av.open(str(tmp_path / "a.mp4")) as file:
        found = mark.read(frame.to_ndarray(format="rgb24") for frame in file.decode(video=0))
    assert found is not None
    assert found.identity == 0x1234


def test_it_is_not_found_where_it_is_not() -> None:
    mark = Watermark(WIDTH, HEIGHT)
    assert all(mark.read(film(1, seed)) is None for seed in range(20))
    assert mark.read([]) is None
    assert mark.read(film(1)[:, ::-1]) is None


def test_small_frames_cannot_hold_it() -> None:
    assert can_mark(192, 160)
    assert not can_mark(96, 96)
    with pytest.raises(ValueError, match="too small"):
        Watermark(96, 96)
    with pytest.raises(ValueError, match="16 bits"):
        Watermark(WIDTH, HEIGHT).embed(film(1), 2**16)
