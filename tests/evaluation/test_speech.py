"""What is heard of the lips, and the coefficients SyncNet hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation_cases import buzz
from talkies.domain.errors import InputError
from talkies.evaluation.curves import align
from talkies.evaluation.mfcc import mfcc
from talkies.evaluation.speech import expected_opening, fit, judge, read_tracks, save_filter, voiced


def test_silence_asks_for_nothing() -> None:
    assert (expected_opening(np.zeros(6400, np.float32), 12) == 0).all()
    assert (expected_opening(np.zeros(0, np.float32), 12) == 0).all()
    assert not voiced(np.zeros(6400, np.float32), 12).any()


def test_a_vowel_opens_and_its_pause_closes() -> None:
    open_lips = np.zeros(60)
    open_lips[10:20] = open_lips[35:50] = 1.0
    heard = expected_opening(buzz(open_lips), 60)
    assert heard[12:18].mean() > heard[25:32].mean() + 0.03
    assert (voiced(buzz(open_lips), 60)[[14, 40, 28]] == [True, True, False]).all()


def test_level_does_not_matter_and_time_does() -> None:
    wave = buzz(np.random.default_rng(0).random(80) ** 2)
    assert np.abs(expected_opening(wave, 80) - expected_opening(0.1 * wave, 80)).max() < 0.02
    late = np.concatenate([np.zeros(4 * 640, np.float32), wave])
    assert align(expected_opening(late, 84), expected_opening(wave, 80)).offset == 4


def test_a_filter_learns_what_it_is_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lips = [np.convolve(rng.random(69), np.hanning(10), "valid").astype(np.float32) / 5 for _ in range(8)]
    examples = [(buzz(curve), curve) for curve in lips]
    found = judge(fit(examples[:5]), examples[5:])
    assert found["r"] > 0.8 and found["own voice preferred"] == 1.0
    assert abs(found["r with other voices"]) < 0.5
    save_filter(fit(examples), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size > 1000
    assert read_tracks(tmp_path) == []
    with pytest.raises(InputError, match="nothing to fit"):
        fit([])


def test_coefficients_are_those_of_their_definition() -> None:
    """Written out step by step, as `python_speech_features` documents its defaults."""
    t = np.arange(1999)
    sound = np.rint(8000 * np.sin(t * t / 4000) + 1000 * np.cos(t / 3))
    found = mfcc(sound)
    assert found.shape == (11, 13)  # 1 + ceil((1999 - 400) / 160)
    emphasised = [sound[0], *(sound[k] - 0.97 * sound[k - 1] for k in range(1, 1999))]
    edges = [700 * (10 ** (k * 2595 * np.log10(1 + 8000 / 700) / 27 / 2595) - 1) for k in range(28)]
    bins = [int(np.floor(513 * hertz / 16_000)) for hertz in edges]
    for frame in (0, 5, 10):
        window = np.array([*emphasised[frame * 160 : frame * 160 + 400], *[0.0] * 400])[:400]
        power = np.abs(np.fft.fft(window, 512))[:257] ** 2 / 512
        bands = np.zeros(26)
        for band in range(26):
            low, middle, high = bins[band : band + 3]
            bands[band] = sum(power[k] * (k - low) / (middle - low) for k in range(low, middle))
            bands[band] += sum(power[k] * (high - k) / (high - middle) for k in range(middle, high))
        logs = np.log(bands)
        angles = np.pi * (np.arange(26) + 0.5) / 26
        cosines = [np.sqrt((1 if n == 0 else 2) / 26) * float(logs @ np.cos(n * angles)) for n in range(13)]
        lifted = [c * (1 + 11 * np.sin(np.pi * n / 22)) for n, c in enumerate(cosines)]
        np.testing.assert_allclose(found[frame], [np.log(power.sum()), *lifted[1:]], rtol=1e-6, atol=1e-6)
