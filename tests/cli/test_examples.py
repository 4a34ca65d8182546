"""The shared photographs and recordings, from their files to finished videos, with a tiny untrained model."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from command_line import Talkies

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
SINGLE, TWO = EXAMPLES / "photo-single", EXAMPLES / "photo-two"
pytestmark = pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the example photographs and recordings (../shared/examples) are not here"
)

#: One step, one pass and few segments: what counts here are the stages around the network.
QUICK = ("--steps", "1", "--text-guidance", "1", "--audio-guidance", "1", "--set", "segment_frames=81")


def watch(path: Path) -> tuple[int, np.ndarray, int]:
    """Number of frames; the sound `[channels, n]`; its rate."""
    with av.open(str(path)) as file:
        frames = sum(1 for _ in file.decode(video=0))
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    return frames, sound, rate


def test_the_authors_own_input_runs_as_it_is(here: Path, tiny: Path, talkies: Talkies) -> None:
    """Their file, unchanged, in their folders, started from their root: one speaks after the other."""
    folder = here / "examples" / "multi" / "1"
    folder.mkdir(parents=True)
    for name, original in (("multi1.png", "photo.png"), ("1.WAV", "left.wav"), ("2.WAV", "right.wav")):
        (folder / name).symlink_to(TWO / original)
    shutil.copy(TWO / "official_input.json", here)
    result = talkies("generate", "official_input.json", "-m", tiny, "-o", "o.mp4", "--size", "192x160",
                     "--i-have-consent", *QUICK)  # fmt: skip
    assert result.code == 0, result.err
    frames, sound, rate = watch(here / "o.mp4")
    assert frames == 122  # 1.79 s and 3.09 s
    assert sound.shape[0] == 2
    assert sound.shape[1] / rate == pytest.approx(122 / 25, abs=0.05)
    assert all(np.abs(part).max() > 0.05 for part in np.split(sound, [int(1.7 * rate)], axis=1))
    verified = talkies("verify", "o.mp4")
    assert verified.code == 0, verified.out
    assert "made from            multi1.png, 1.WAV, 2.WAV" in verified.out
    assert "invisible mark       made with Talkies" in verified.out


def test_a_photograph_and_a_voice_are_enough(here: Path, tiny: Path, talkies: Talkies) -> None:
    """Nobody says where the woman is, nor what happens."""
    result = talkies("generate", "--image", SINGLE / "photo.png", "--speaker", SINGLE / "voice.wav", "-m", tiny,
                     "-o", "o.mp4", "--size", "96x64", "--i-have-consent", *QUICK)  # fmt: skip
    assert result.code == 0, result.err
    assert "neutral prompt" in result.err
    frames, _, _ = watch(here / "o.mp4")
    assert abs(frames - 25 * 10.682) <= 1


def test_two_people_are_found_and_one_listens_to_a_film(here: Path, tiny: Path, talkies: Talkies) -> None:
    """Any file with sound is a voice."""
    result = talkies("generate", "--image", TWO / "photo.png", "--speaker", "none",
                     "--speaker", EXAMPLES / "video" / "talking.mp4", "--seconds", "0.52", "-m", tiny, "-o", "o.webm",
                     "--size", "96x64", "--i-have-consent", *QUICK)  # fmt: skip
    assert result.code == 0, result.err
    assert "Silent throughout: speaker 1" in result.err
    assert watch(here / "o.webm")[0] == 13
