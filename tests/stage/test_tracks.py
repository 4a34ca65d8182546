"""Parts of people from numbers: repeatable, sound and frames in step, sets apart."""

from __future__ import annotations

import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS
from talkies.stage import tracks
from talkies.stage.alignment import SILENCE, Phone, Word
from talkies.stage.speech import Speech
from talkies.stage.texts import split_of, spoken_words
from talkies.stage.tracks import WINDOWS, cut, listen, recite, samples, speak, utterance
from talkies.stage.voices import available_engines, find_voice

needs_voice = pytest.mark.skipif(
    not {"flite", "espeak-ng"} & set(available_engines()), reason="neither flite nor espeak-ng is installed"
)


@pytest.fixture
def cheap(monkeypatch) -> None:
    """The quick engines only."""
    quick = tuple(name for name in available_engines() if name != "kokoro")
    monkeypatch.setattr(tracks, "_SHARES", {name: float(name in quick) for name in available_engines()})
    monkeypatch.setattr(tracks, "available_engines", lambda: quick)


@needs_voice
def test_a_track_is_whole_and_repeatable(cheap, tmp_path) -> None:
    first = speak(13, "train", 33, cache_dir=tmp_path)
    assert len(first.performance) == 33
    assert first.waveform.shape == (33 * 640,)
    assert first.role == "speaker"
    assert len(list(tmp_path.glob("*.npz"))) == 1
    tracks._utterance.cache_clear()
    second = speak(13, "train", 33, cache_dir=tmp_path)
    assert np.array_equal(first.waveform, second.waveform)
    assert np.array_equal(first.performance.face_units, second.performance.face_units)
    assert first.phones == second.phones


@needs_voice
def test_windows_of_an_utterance_differ_and_touch_its_ends(cheap) -> None:
    parts = [speak(seed, "train", 50) for seed in range(WINDOWS)]
    assert len({part.text for part in parts}) == 1
    assert parts[0].waveform[:1000].max() == 0  # speech has not begun
    assert len({part.phones[0].start for part in parts}) > 1
    loud = [np.sqrt((part.waveform**2).mean()) for part in parts]
    assert min(loud) > 0.005


@needs_voice
def test_sets_do_not_meet_and_registers_are_kept(cheap) -> None:
    for number in range(3):
        for split in ("train", "test"):
            speech = utterance(number, split, "high", sentences=1)
            voice = find_voice(speech.voice_id)
            assert (voice.split, voice.register) == (split, "high")
            assert split_of(speech.text) == split
            assert spoken_words(speech.text)


def test_cutting_keeps_sound_and_phones_together() -> None:
    sound = np.arange(16000, dtype=np.float32)
    speech = Speech(
        sound,
        16000,
        (Phone("AA", 0.0, 0.5), Phone(SILENCE, 0.5, 0.6), Phone("B", 0.6, 1.0)),
        (Word("ab", 0.0, 1.0),),
        "a",
        "v",
    )
    late = cut(speech, 0.5, 10)  # 0.4 s
    assert np.array_equal(late.waveform, sound[8000:14400])
    assert late.phones[-1].start == pytest.approx(0.1)
    early = cut(speech, -0.2, 10)
    assert not early.waveform[:3200].any()
    assert np.array_equal(early.waveform[3200:], sound[:3200])
    assert early.phones[0].start == pytest.approx(0.2)
    assert len(cut(speech, 5.0, 3).waveform) == samples(3)
    assert cut(speech, 5.0, 3).phones == ()


def test_silent_parts_say_nothing() -> None:
    part = listen(3, 40, "idle")
    assert not part.waveform.any()
    assert part.phones == ()
    assert len(part.performance) == 40
    with pytest.raises(InputError):
        listen(3, 40, "speaker")


@needs_voice
def test_a_recital_is_a_whole_utterance_with_silence_around_it(tmp_path) -> None:
    track = recite(3, "train", tmp_path)
    assert len(track.waveform) == samples(len(track.performance))
    assert track.phones[0].start > 0.2 and track.phones[-1].end < len(track.performance) / 25 - 0.2
    assert find_voice(track.voice_id).engine != "kokoro"
    opening = track.performance.face_units[:, FACE_UNITS.index("jawOpen")]
    assert opening[:5].max() < 0.05 < opening.max()
    assert np.array_equal(recite(3, "train", tmp_path).waveform, track.waveform)
