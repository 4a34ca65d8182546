"""Phone times: plausible, deterministic, refused when text and sound disagree, and near an independent aligner's."""

from __future__ import annotations

import difflib
import itertools
import subprocess

import numpy as np
import pytest

from talkies.media.resampling import SAMPLING_RATE, resample
from talkies.stage import engines
from talkies.stage.alignment import SILENCE, AlignmentError, Phone, align, check_phones
from talkies.stage.speech import Speech, load_speech, save_speech, synthesize
from talkies.stage.texts import sample_text, spoken_words
from talkies.stage.voices import available_voices, find_voice, render

pytest.importorskip("pocketsphinx")
needs_flite = pytest.mark.skipif(not engines.flite_available(), reason="Debian's flite is not installed")

TEXT = "My father moved the purple boxes by Wednesday."
#: flite's names where they differ from ARPAbet.
FLITE_NAMES = {"ax": "AH", "axr": "ER", "pau": SILENCE}


@pytest.fixture(scope="module")
def spoken() -> Speech:
    if not engines.flite_available():
        pytest.skip("Debian's flite is not installed")
    return synthesize(TEXT, find_voice("flite-slt-t97-p196"))


def test_phones_cover_the_sound_without_gaps(spoken: Speech) -> None:
    assert spoken.phones[0].start == pytest.approx(0, abs=1e-6)
    assert spoken.phones[-1].end == pytest.approx(spoken.duration, abs=0.011)
    for before, after in itertools.pairwise(spoken.phones):
        assert before.end == pytest.approx(after.start, abs=1e-6)
        assert before.end > before.start
    assert [word.text for word in spoken.words] == list(spoken_words(TEXT))
    assert all(before.end <= after.start + 1e-6 for before, after in itertools.pairwise(spoken.words))
    labels = [phone.label for phone in spoken.phones if phone.label != SILENCE]
    assert "".join(labels).startswith("MAYFAADHER")


def test_same_sound_same_times_whatever_came_before(spoken: Speech) -> None:
    rng = np.random.default_rng(0)
    for voice, sentences in zip(available_voices("train", "flite")[::9], (1, 4, 2, 5), strict=False):
        text = sample_text(rng, "train", sentences)
        align(render(text, voice), text)
        again = synthesize(TEXT, find_voice("flite-slt-t97-p196"))
        assert np.array_equal(again.waveform, spoken.waveform)
        assert again.phones == spoken.phones


def test_wrong_text_is_refused(spoken: Speech) -> None:
    with pytest.raises(AlignmentError):
        align(spoken.waveform, "Yes.")
    with pytest.raises(AlignmentError):
        align(spoken.waveform[: SAMPLING_RATE // 2], TEXT * 3)


def test_silence_is_refused() -> None:
    with pytest.raises(AlignmentError):
        align(np.zeros(SAMPLING_RATE, np.float32), TEXT)


def test_phones_in_silence_are_refused() -> None:
    sound = np.zeros(SAMPLING_RATE, np.float32)
    sound[:4000] = np.sin(np.arange(4000) / 5)
    phones = tuple(Phone("AH", 0.1 * k, 0.1 * (k + 1)) for k in range(10))
    with pytest.raises(AlignmentError, match="silence"):
        check_phones(phones, sound)


def test_stored_speech_comes_back(spoken: Speech, tmp_path) -> None:
    save_speech(spoken, tmp_path / "a" / "one.npz")
    back = load_speech(tmp_path / "a" / "one.npz")
    assert (back.phones, back.words) == (spoken.phones, spoken.words)
    assert (back.text, back.voice_id) == (spoken.text, spoken.voice_id)
    assert np.array_equal(back.waveform, spoken.waveform)


@needs_flite
def test_boundaries_agree_with_flites_own() -> None:
    """flite knows when it starts each phone; a sentence from every fourth of its voices, median below 25 ms."""
    rng = np.random.default_rng(0)
    differences: list[float] = []
    for voice in available_voices("train", "flite")[::4]:
        text = sample_text(rng, "train", 1)
        truth = _flite_phones(text, voice.blend[0][0], voice.pitch)
        waveform, rate = engines.flite(text, voice.blend[0][0], voice.pitch, 1.0)
        found = [p for p in align(resample(waveform, rate), text).phones if p.label != SILENCE]
        names = [phone.label for phone in found]
        matcher = difflib.SequenceMatcher(a=names, b=[label for label, _ in truth], autojunk=False)
        for block in matcher.get_matching_blocks():
            differences += [found[block.a + k].start - truth[block.b + k][1] for k in range(block.size)]
    assert len(differences) > 200
    assert np.median(np.abs(differences)) < 0.025


def _flite_phones(text: str, base: str, pitch: float) -> list[tuple[str, float]]:
    settings = [f"int_f0_target_mean={pitch}", f"int_f0_target_stddev={0.12 * pitch}", "duration_stretch=1.0"]
    options = [part for setting in settings for part in ("--setf", setting)]
    arguments = ["flite", "-voice", base, *options, "-t", text, "-o", "none", "-psdur"]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    out, start = [], 0.0
    for entry in printed:
        name, end = entry.rsplit(":", 1)
        label = FLITE_NAMES.get(name, name.upper())
        if label != SILENCE:
            out.append((label, start))
        start = float(end)
    return out
