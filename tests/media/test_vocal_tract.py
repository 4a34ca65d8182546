"""Voices whose resonances were moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from talkies.domain.errors import InputError
from talkies.media.vocal_tract import move_formants

RATE = 16_000


def vowel(formants: tuple[float, ...], pitch: float = 120.0, seconds: float = 0.5) -> NDArray[np.float32]:
    """A pulse train through resonators."""
    sound = (np.arange(int(RATE * seconds)) % round(RATE / pitch) == 0).astype(np.float64)
    for formant in formants:
        radius = np.exp(-np.pi * 80 / RATE)
        sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], sound)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def strongest(sound: NDArray[np.float32], low: float, high: float) -> float:
    """Frequency of the strongest resonance between two, by linear prediction."""
    windowed = sound * np.hanning(len(sound))
    lags = np.correlate(windowed, windowed, "full")[len(windowed) - 1 :][:19]
    matrix = lags[np.abs(np.subtract.outer(np.arange(18), np.arange(18)))]
    filter_ = np.concatenate([[1], -np.linalg.solve(matrix + 1e-6 * lags[0] * np.eye(18), lags[1:])])
    power = 1 / np.abs(np.fft.rfft(filter_, 4096)) ** 2
    frequencies = np.fft.rfftfreq(4096, 1 / RATE)
    inside = (frequencies >= low) & (frequencies <= high)
    return float(frequencies[inside][power[inside].argmax()])


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.18])
def test_resonances_move_and_pitch_stays(factor: float) -> None:
    sound = vowel((700.0, 1800.0))
    moved = move_formants(sound, factor)
    assert strongest(moved, 350, 1200) == pytest.approx(700 * factor, rel=0.08)
    assert strongest(moved, 1250, 2500) == pytest.approx(1800 * factor, rel=0.08)
    lags = np.correlate(moved, moved, "full")[len(moved) - 1 :]
    assert abs(int(lags[60:200].argmax()) + 60 - round(RATE / 120)) <= 1


@given(st.integers(0, 5000), st.floats(0.6, 1.7))
def test_time_and_length_stay(count: int, factor: float) -> None:
    sound = np.zeros(count, np.float32)
    sound[count // 2 : count // 2 + 1] = 0.5
    moved = move_formants(sound, factor)
    assert moved.shape == sound.shape and moved.dtype == np.float32 and np.isfinite(moved).all()
    if count:
        assert abs(int(np.abs(moved).argmax()) - count // 2) <= 40


def test_nothing_is_done_by_one_and_to_silence() -> None:
    sound, silence = vowel((700.0,)), np.zeros(1000, np.float32)
    assert np.array_equal(move_formants(sound, 1.0), sound)
    assert np.array_equal(move_formants(silence, 1.3), silence)
    with pytest.raises(InputError, match=r"0\.5 to 2"):
        move_formants(sound, 3.0)
