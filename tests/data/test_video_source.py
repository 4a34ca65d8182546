"""Video in: one clock for pictures and sound, any part, upright, within limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filmed import RATE, scene, vowels, write_video
from talkies.domain.errors import InputError
from talkies.media.video_source import VideoSource


def numbered(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Frames whose grey level is 2 n."""
    levels = (2 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def levels(frames: list[np.ndarray]) -> np.ndarray:
    return np.array([frame.mean() / 2 for frame in frames])


def test_every_part_holds_its_own_frames(tmp_path: Path) -> None:
    source = VideoSource.open(write_video(tmp_path / "v.mp4", numbered(110), None))
    assert (source.size.width, source.size.height, source.sound) == (96, 64, False)
    assert source.seconds == pytest.approx(4.4, abs=0.05)
    for start in (0, 26, 51, 73):
        found = levels(list(source.frames(start / 25, 1.0, 960)))
        assert np.abs(found - (start + np.arange(25))).max() < 0.9
    assert len(list(source.frames(4.0, 1.0, 960))) == 10  # the file ends
    assert not source.speech(0, 1).any()


@pytest.mark.parametrize(("fps", "last"), [(50, 48.5), (10, 9)])
def test_other_frame_rates_become_25(tmp_path: Path, fps: int, last: float) -> None:
    source = VideoSource.open(write_video(tmp_path / "v.mp4", numbered(fps + fps // 2), None, fps))
    found = levels(list(source.frames(0, 1.0, 960)))
    assert len(found) == 25
    assert found[-1] == pytest.approx(last, abs=0.9)
    assert (np.diff(found) > -0.5).all()


@pytest.mark.parametrize("start", [0.6, 1.4])
@pytest.mark.parametrize("late", [0.0, 0.6])
def test_a_clap_is_heard_where_it_is_seen(tmp_path: Path, start: float, late: float) -> None:
    frames = np.full((75, 64, 96, 3), 20, np.uint8)
    frames[50] = 240
    sound = np.zeros(3 * RATE, np.float32)
    clap = 2 * RATE - round(late * RATE)
    sound[clap : clap + 200] = 0.8
    source = VideoSource.open(write_video(tmp_path / "v.mkv", frames, sound, late=late))
    seen = int(np.argmax([frame.mean() for frame in source.frames(start, 1.6, 960)]))
    heard = int(np.argmax(np.abs(source.speech(start, 1.6)) > 0.3))
    assert seen == 50 - round(start * 25)
    assert heard / RATE + start == pytest.approx(2.0, abs=0.01)


def test_sound_of_parts_joins(tmp_path: Path) -> None:
    source = VideoSource.open(write_video(tmp_path / "v.mp4", numbered(75), vowels(3)))
    whole = source.speech(0, 2.8)
    halves = np.concatenate([source.speech(0, 1.4), source.speech(1.4, 1.4)])
    assert len(whole) == len(halves) == round(2.8 * RATE)
    assert np.abs(whole - halves).max() < 0.02


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    frames = np.zeros((10, 64, 96, 3), np.uint8)
    frames[:, :, :48, 0] = 255  # red on the left
    path = write_video(tmp_path / "v.mp4", frames, None)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # turned clockwise by a quarter
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    path.write_bytes(data)
    source = VideoSource.open(path)
    assert (source.size.width, source.size.height) == (64, 96)
    (first, *_) = source.frames(0, 0.4, 48)
    assert first.shape == (48, 32, 3)
    assert first[4, :, 0].mean() > 150 > 60 > first[-4, :, 0].mean()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video" * 100)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    for path, message in ((text, "not a video"), (playlist, "video"), (tmp_path / "none.mp4", "no video")):
        with pytest.raises(InputError, match=message):
            VideoSource.open(path)
    cut = write_video(tmp_path / "cut.mkv", scene(75, [(80, 60)]), vowels(3))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert 5 < len(list(VideoSource.open(cut).frames(0, 3, 960))) < 75
