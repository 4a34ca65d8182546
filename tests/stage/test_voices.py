"""The catalogue: enough speakers, apart in training and testing, and each one sounds like speech."""

from __future__ import annotations

import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.stage import engines
from talkies.stage.voices import available_engines, available_voices, catalogue, find_voice, render


def test_two_hundred_speakers_from_three_engines() -> None:
    voices = catalogue()
    assert len(voices) >= 200
    assert len({voice.id for voice in voices}) == len(voices)
    assert {voice.engine for voice in voices} == {"flite", "espeak-ng", "kokoro"}
    for split in ("train", "test"):
        assert {voice.register for voice in voices if voice.split == split} == {"low", "high"}


def test_speakers_of_the_test_set_share_no_cell_with_training() -> None:
    """Pitch variants of one speaker model and tract length never stand on both sides."""
    cells = {
        split: {(v.engine, v.blend, v.tract) for v in catalogue() if v.split == split} for split in ("train", "test")
    }
    assert not cells["train"] & cells["test"]


@pytest.mark.parametrize("engine", ["flite", "espeak-ng", "kokoro"])
def test_each_engine_speaks_16_khz(engine) -> None:
    if engine not in available_engines():
        pytest.skip(f"{engine} is not installed")
    voice = available_voices("train", engine)[0]
    sound = render("Good morning.", voice)
    assert sound.dtype == np.float32
    assert 0.4 * 16000 < len(sound) < 3 * 16000
    assert 0.02 < np.sqrt((sound**2).mean()) < 0.2
    assert np.abs(sound).max() <= 0.951
    assert np.array_equal(sound, render("Good morning.", voice))


def test_stretch_slows_and_tract_moves_only_the_formants() -> None:
    if not engines.flite_available():
        pytest.skip("Debian's flite is not installed")
    plain = render("We had soup for lunch.", find_voice("flite-slt-t97-p196"))
    slow = render("We had soup for lunch.", find_voice("flite-slt-t97-p196"), 1.3)
    small = render("We had soup for lunch.", find_voice("flite-slt-t115-p196"))
    assert len(slow) / len(plain) == pytest.approx(1.3, abs=0.08)
    assert len(small) / len(plain) == pytest.approx(1.0, abs=0.06)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError):
        find_voice("nobody")
    with pytest.raises(InputError):
        engines.pronounce("Xqzzt")
