"""Video out: lengths, rates, sound, colours, and files that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError, TalkiesError
from talkies.domain.timeline import Timeline, Utterance
from talkies.media.audio import Mix
from talkies.media.staging import staged
from talkies.media.video import Format, VideoSettings, VideoWriter, format_of, parse_fps

SIZE = FrameSize(96, 64)


def frames(count: int) -> np.ndarray:
    rows, columns = np.mgrid[:64, :96]
    return np.stack(
        [np.stack([columns * 2, rows * 3, np.full_like(rows, 4 * k % 256)], -1) for k in range(count)]
    ).astype(np.uint8)


@pytest.fixture
def mix(tmp_path: Path) -> Mix:
    path = tmp_path / "voice.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(32_000) / 8), 16_000)
    return Mix(Timeline((Utterance(0, path, 0.0, 2.0),)), 2.0, 48_000, 1)


def write(path: Path, settings: VideoSettings, count: int = 50, mix: Mix | None = None, batch: int = 7) -> None:
    with staged(path) as temporary, VideoWriter(temporary, SIZE, settings, mix) as writer:
        for first in range(0, count, batch):
            writer.write(frames(count)[first : first + batch])


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
@pytest.mark.parametrize(("fps", "expected"), [("25", 50), ("12.5", 25), ("30000/1001", 60)])
def test_length_is_kept_at_any_rate(tmp_path: Path, mix: Mix, kind: Format, fps: str, expected: int) -> None:
    path = tmp_path / f"out.{kind}"
    write(path, VideoSettings(kind, parse_fps(fps), metadata={"comment": "made here"}), mix=mix)
    with av.open(str(path)) as file:
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(shown) == expected
    assert np.abs(shown[0].astype(int) - frames(1)[0]).mean() < 6
    if kind == "gif":
        return
    with av.open(str(path)) as file:
        sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
        tags = {key.lower(): value for key, value in file.metadata.items()}
    assert sound.shape[1] / 48_000 == pytest.approx(2.0, abs=0.05)
    assert tags["comment"] == "made here"


def test_colours_survive_and_are_tagged(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with staged(path) as temporary, VideoWriter(temporary, SIZE, VideoSettings(crf=5)) as writer:
        writer.write(np.tile(np.array([200, 40, 90], np.uint8), (5, 64, 96, 1)))
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        pixel = next(file.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()[30, 40]
    assert np.abs(pixel.astype(int) - [200, 40, 90]).max() <= 3


def test_pictures_and_sound_in_a_folder(tmp_path: Path, mix: Mix) -> None:
    path = tmp_path / "frames"
    for _ in range(2):  # the second replaces the first
        write(path, VideoSettings("png"), mix=mix)
    assert len(list(path.glob("*.png"))) == 50
    np.testing.assert_array_equal(np.asarray(Image.open(path / "000049.png")), frames(50)[49])
    assert soundfile.info(path / "sound.wav").duration == pytest.approx(2.0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["frames", "voice.wav"]


def test_the_same_frames_are_the_same_bytes(tmp_path: Path, mix: Mix) -> None:
    """A run that was resumed must end with the bytes of one that was not."""
    for attempt in range(6):
        write(tmp_path / f"{attempt}.mp4", VideoSettings(), mix=mix)
    assert len({(tmp_path / f"{attempt}.mp4").read_bytes() for attempt in range(6)}) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "frames"])
def test_an_interruption_leaves_nothing(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    path = tmp_path / name
    settings = VideoSettings(format_of(path))
    with pytest.raises(error), staged(path) as temporary, VideoWriter(temporary, SIZE, settings) as writer:
        writer.write(frames(20))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("before")
    with pytest.raises(RuntimeError), staged(tmp_path / "out.mp4") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "out.mp4").read_text() == "before"


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".out.{gone.pid}.part.mp4").write_text("half")
    (tmp_path / f".out.{os.getppid()}.part.mp4").write_text("another's, who lives")
    with staged(tmp_path / "out.mp4") as temporary:
        temporary.write_text("whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f".out.{os.getppid()}.part.mp4", "out.mp4"]


_FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from talkies.domain.clip import FrameSize
from talkies.domain.errors import TalkiesError
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
path = Path(sys.argv[1])
try:
    with staged(path) as temporary, VideoWriter(temporary, FrameSize(96, 64), VideoSettings(crf=1)) as writer:
        for _ in range(5):
            writer.write(noise)
except TalkiesError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_no_room_left_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:

    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "out.mp4")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "was not written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    for name, wanted in (("out.avi", None), ("out.mp4", "gif"), ("out", "mp4"), ("out.mp4", "avi"), ("out.gif", "png")):
        with pytest.raises(InputError):
            format_of(tmp_path / name, wanted)
    for text in ("0", "-5", "fast", "1000", "25/0", "nan"):
        with pytest.raises(InputError):
            parse_fps(text)
    assert parse_fps("23.976") == Fraction(2997, 125)
    with pytest.raises(InputError, match="even"):
        VideoWriter(tmp_path / "x.mp4", FrameSize(97, 64), VideoSettings())
    with pytest.raises(InputError, match="does not exist"), staged(tmp_path / "no" / "out.mp4"):
        pass
    with pytest.raises(TalkiesError, match="not written"), staged(tmp_path / "x.mp4"):
        raise OSError(28, "No space left on device")
