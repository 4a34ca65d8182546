"""Recorded sound: as long as before, not delayed, as noisy as asked, the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.media.acoustics import CODECS, NOISES, Acoustics, Room, impulse_response


def bursts(seconds: float = 1.5) -> np.ndarray:
    """Broadband bursts whose onsets tell time."""
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(round(seconds * 16000)) * 0.1
    gate = np.repeat(rng.random(round(seconds * 20)) < 0.5, 800)[: len(sound)]
    return (sound * gate).astype(np.float32)


def lag(first: np.ndarray, second: np.ndarray) -> int:
    size = 2 * len(first)
    correlation = np.fft.irfft(np.conj(np.fft.rfft(first, size)) * np.fft.rfft(second, size), size)
    best = int(np.argmax(np.abs(correlation)))
    return best - size if best > size // 2 else best


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_any_variation_keeps_length_range_and_time(seed) -> None:
    clean = bursts()
    acoustics = Acoustics.sample(np.random.default_rng(seed))
    heard = acoustics.apply(clean)
    assert heard.shape == clean.shape
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1
    assert np.array_equal(heard, acoustics.apply(clean))
    # The room may add up echoes to more than the direct sound in a narrow band, so it is held to its own law.
    assert abs(lag(clean, replace(acoustics, room=None).apply(clean))) <= 16  # 1 ms
    if acoustics.room is not None:
        response = impulse_response(acoustics.room, np.random.default_rng(seed))
        assert response[0] == pytest.approx(1)
        assert np.abs(response[1:]).max() < 1


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_keep_the_voice_in_place(codec) -> None:
    times = np.arange(24000) / 16000
    voice = (0.3 * np.sin(2 * np.pi * 150 * times) * np.sin(2 * np.pi * 500 * times) * (times > 0.4)).astype(np.float32)
    heard = Acoustics(codec=codec).apply(voice)
    assert np.corrcoef(voice, heard)[0, 1] > 0.9
    assert abs(lag(voice, heard)) <= 2


@pytest.mark.parametrize("noise", [kind for kind in NOISES if kind != "none"])
def test_noise_is_as_loud_as_asked(noise) -> None:
    clean = bursts(2.0)
    heard = Acoustics(noise=noise, snr_db=12.0, low_cut=4.0).apply(clean)
    reference = Acoustics(low_cut=4.0).apply(clean)
    active = (reference[np.abs(clean) > 0] ** 2).mean()
    measured = 10 * np.log10(active / ((heard - reference) ** 2).mean())
    assert measured == pytest.approx(12.0, abs=3.0)  # the microphone takes some of either


def test_silence_gets_only_noise() -> None:
    quiet = np.zeros(8000, np.float32)
    assert not Acoustics(room=Room.sample(np.random.default_rng(0)), codec="vorbis").apply(quiet).any()
    hiss = Acoustics(noise="pink", snr_db=30).apply(quiet)
    assert 0 < np.sqrt((hiss**2).mean()) < 0.01
    assert len(Acoustics().apply(np.zeros(0, np.float32))) == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_rooms_start_with_the_direct_sound_and_die_away(seed) -> None:
    rng = np.random.default_rng(seed)
    room = Room.sample(rng)
    response = impulse_response(room, rng)
    assert response[0] >= 0.99
    assert np.argmax(np.abs(response)) <= 0.02 * 16000
    energy = response**2
    early, late = energy[: len(energy) // 4].sum(), energy[-len(energy) // 4 :].sum()
    assert late < 0.01 * early


def test_bad_sound_is_refused() -> None:
    with pytest.raises(InputError):
        Acoustics().apply(np.zeros((2, 100), np.float32))
    with pytest.raises(InputError):
        Acoustics().apply(np.full(100, np.nan, np.float32))
