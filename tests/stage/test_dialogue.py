"""Conversations: turns as the pattern says, voices apart, sound where speech is, listeners silent and attentive."""

from __future__ import annotations

import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.stage import tracks
from talkies.stage.alignment import SILENCE, Phone, Word
from talkies.stage.dialogue import PATTERNS, Dialogue, converse, phrases
from talkies.stage.performance import FACE_UNITS
from talkies.stage.speech import Speech
from talkies.stage.voices import available_engines, find_voice

pytestmark = pytest.mark.skipif("flite" not in available_engines(), reason="Debian's flite is not installed")
COLUMN = {name: k for k, name in enumerate(FACE_UNITS)}
TWO = ((0.0, 24.0), (-24.0, 0.0))
FOUR = tuple(tuple(0.0 if i == j else 24.0 * np.sign(j - i) for j in range(4)) for i in range(4))


@pytest.fixture(autouse=True)
def flite_only(monkeypatch) -> None:
    monkeypatch.setattr(tracks, "_SHARES", {name: float(name == "flite") for name in available_engines()})


@pytest.fixture(scope="module")
def talks() -> dict[str, Dialogue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "_SHARES", {name: float(name == "flite") for name in available_engines()})
        return {pattern: converse(4, "train", 125, TWO, ("low", "high"), pattern) for pattern in PATTERNS}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_sound_and_phones_agree(talks, pattern) -> None:
    talk = talks[pattern]
    speaking = talk.speaking()
    assert speaking.shape == (2, 125)
    for person, track in enumerate(talk.tracks):
        assert track.waveform.shape == (125 * 640,)
        power = (track.waveform.reshape(125, 640) ** 2).mean(axis=1)
        inside, outside = power[speaking[person]], power[~speaking[person]]
        if speaking[person].any():
            assert inside.mean() > 10 * (outside.mean() if outside.size else 0.0)
        else:
            assert not power.any()
    assert np.abs(talk.mixture()).max() <= 0.99


def test_patterns_are_what_they_say(talks) -> None:
    both = {name: talk.speaking().sum(axis=0) for name, talk in talks.items()}
    assert not (both["alternate"] == 2).any()
    assert {turn.person for turn in talks["alternate"].turns} == {0, 1}
    assert (both["overlap"] == 2).sum() >= 4
    kinds = {turn.kind: {t.person for t in talks["backchannel"].turns if t.kind == turn.kind}
             for turn in talks["backchannel"].turns}  # fmt: skip
    assert len(kinds["turn"]) == 1
    assert kinds["backchannel"] == {0, 1} - kinds["turn"]
    silent = [track for track in talks["one_silent"].tracks if not track.phones]
    assert len(silent) == 1
    assert silent[0].role == "listener"


def test_voices_differ_and_fit(talks) -> None:
    for talk in talks.values():
        voices = [find_voice(track.voice_id) for track in talk.tracks if track.voice_id]
        assert len({voice.id for voice in voices}) == len(voices)
        for voice, register in zip(voices, ("low", "high"), strict=False):
            assert voice.split == "train"
            assert len(voices) < 2 or voice.register == register


def test_whoever_is_silent_has_shut_lips(talks) -> None:
    for talk in talks.values():
        for spoken, track in zip(talk.speaking(), talk.tracks, strict=True):
            near = np.convolve(spoken, np.ones(15), "same") > 0
            units = track.performance.face_units[~near]
            opening = units[:, COLUMN["jawOpen"]] - units[:, COLUMN["mouthClose"]]
            assert np.abs(opening).max(initial=0) < 0.03


def test_listeners_turn_to_the_speaker() -> None:
    talk = converse(9, "train", 129, FOUR, pattern="alternate")
    speaking = talk.speaking()
    for person, track in enumerate(talk.tracks):
        looks = track.performance.head[:, 0] + track.performance.gaze[:, 0]
        for other in range(4):
            alone = speaking[other] & (speaking.sum(axis=0) == 1)
            if other != person and alone[20:].sum() > 20:
                assert np.median(looks[alone]) * np.sign(FOUR[person][other]) > 0


def test_a_conversation_repeats_exactly(talks) -> None:
    again = converse(4, "train", 125, TWO, ("low", "high"), "overlap")
    assert again.turns == talks["overlap"].turns
    for first, second in zip(again.tracks, talks["overlap"].tracks, strict=True):
        assert np.array_equal(first.waveform, second.waveform)
        assert np.array_equal(first.performance.face_units, second.performance.face_units)


def test_phrases_put_together_are_the_speech() -> None:
    phones = (Phone(SILENCE, 0.0, 0.1), Phone("AA", 0.1, 0.4), Phone(SILENCE, 0.4, 0.6), Phone("B", 0.6, 0.9),
              Phone(SILENCE, 0.9, 1.0))  # fmt: skip
    words = (Word("a", 0.1, 0.4), Word("b", 0.6, 0.9))
    parts = phrases(Speech(np.arange(16000, dtype=np.float32), 16000, phones, words, "a. b.", "v"))
    assert [part.text for part in parts] == ["a", "b"]
    assert np.array_equal(np.concatenate([part.waveform for part in parts]), np.arange(16000))
    assert [len(part.phones) for part in parts] == [3, 3]
    assert parts[1].phones[1].start == pytest.approx(0.1)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="5 people"):
        converse(0, "train", 50, ((0.0,) * 5,) * 5)
    with pytest.raises(InputError, match="one entry"):
        converse(0, "train", 50, TWO, ("low",))
    with pytest.raises(InputError, match="frames"):
        converse(0, "train", 5, TWO)
