"""Faces and heads: in range, repeatable, silent people keep their lips shut, speakers' lips follow the phones."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.stage.alignment import SILENCE, Phone
from talkies.stage.curves import bump, smooth, smooth_noise
from talkies.stage.motion import MOODS, Style, perform
from talkies.stage.performance import FACE_UNITS, Performance
from talkies.stage.prosody import measure_prosody
from talkies.stage.speech import Speech
from talkies.stage.visemes import BILABIAL

COLUMN = {name: k for k, name in enumerate(FACE_UNITS)}
styles = st.builds(
    Style,
    articulation=st.floats(0.8, 1.3),
    mood=st.sampled_from(MOODS),
    liveliness=st.floats(0, 2),
    asymmetry=st.floats(-0.2, 0.2),
    blinks_per_minute=st.floats(5, 40),
)


def babble(rng: np.random.Generator, seconds: float = 3.0) -> Speech:
    """Phones of random length over a buzz whose loudness and pitch wander: enough for motion to follow."""
    count = round(seconds * 16000)
    times = np.arange(count) / 16000
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.8 * times)
    sound = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 16000)) * (0.4 + 0.3 * np.sin(2 * np.pi * 2.5 * times)) * 0.2
    labels = ["M", "AA", "B", "IY", "P", "OW", "F", "UW", "S", "EH", "K", "AY"]
    phones, now = [Phone(SILENCE, 0.0, 0.3)], 0.3
    while now < seconds - 0.3:
        length = rng.uniform(0.05, 0.16)
        phones.append(Phone(labels[int(rng.integers(len(labels)))], now, now + length))
        now += length
    phones.append(Phone(SILENCE, now, seconds))
    return Speech(sound.astype(np.float32), 16000, tuple(phones), (), "babble", "nobody")


def parting(performance: Performance) -> np.ndarray:
    units = performance.face_units
    names = ("mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
    return units[:, COLUMN["jawOpen"]] - units[:, COLUMN["mouthClose"]] + sum(units[:, COLUMN[name]] for name in names)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 129), styles, st.sampled_from(["speaker", "listener", "idle"]))
def test_every_performance_is_well_formed(seed, frames, style, role) -> None:
    speech = babble(np.random.default_rng(seed)) if seed % 2 else None
    performance = perform(speech, frames, np.random.default_rng(seed), role, 30.0, style)
    assert performance.face_units.shape == (frames, 52)
    assert performance.head.shape == (frames, 3)
    assert performance.gaze.shape == (frames, 2)
    for array in (performance.face_units, performance.head, performance.gaze, *performance.bones.values()):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert performance.face_units.min() >= 0
    assert performance.face_units.max() <= 1
    assert np.abs(performance.head[:, 0]).max() < 70
    assert np.abs(performance.head[:, 1:]).max() < 35


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), styles)
def test_closures_hold_in_any_style(seed, style) -> None:
    speech = babble(np.random.default_rng(seed))
    opening = parting(perform(speech, 75, np.random.default_rng(seed), "speaker", 0.0, style))
    closed = [opening[int(p.centre * 25)] for p in speech.phones if p.label in BILABIAL and p.centre < 3]
    assert max(closed, default=0.0) < 1e-5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), styles, st.sampled_from(["listener", "idle"]))
def test_who_is_silent_keeps_the_lips_shut(seed, style, role) -> None:
    quiet = perform(None, 75, np.random.default_rng(seed), role, 20.0, style)
    assert np.abs(parting(quiet)).max() < 1e-6
    overheard = perform(babble(np.random.default_rng(seed)), 75, np.random.default_rng(seed), role, 20.0, style)
    assert np.abs(parting(overheard)).max() < 1e-6


def test_a_mood_begins_when_it_should() -> None:
    smile = COLUMN["mouthSmileLeft"]
    for onset in (0.5, 1.5):
        style = Style(mood="happy", mood_onset=onset)
        shown = perform(None, 75, np.random.default_rng(0), "idle", 0.0, style).face_units[:, smile]
        assert shown[: int(25 * onset) - 2].max() < 0.02 and shown[int(25 * (onset + 0.6)) :].min() > 0.05
    throughout = perform(None, 75, np.random.default_rng(0), "idle", 0.0, Style(mood="happy")).face_units[:, smile]
    assert np.allclose(throughout[-10:], shown[-10:], atol=1e-4)


def test_the_same_seed_moves_the_same() -> None:
    speech = babble(np.random.default_rng(1))
    first, second = (perform(speech, 50, np.random.default_rng(3), "speaker", 10.0) for _ in range(2))
    assert np.array_equal(first.face_units, second.face_units)
    assert np.array_equal(first.head, second.head)
    other = perform(speech, 50, np.random.default_rng(4), "speaker", 10.0)
    assert not np.array_equal(first.head, other.head)


def test_listeners_look_at_their_partner() -> None:
    rng = np.random.default_rng(0)
    looks = []
    for partner in (-35.0, 35.0):
        for _ in range(8):
            p = perform(None, 75, rng, "listener", partner)
            looks.append(abs((p.head[:, 0] + p.gaze[:, 0]).mean() - partner))
    assert np.mean(looks) < 8


def test_blinks_happen_at_the_given_rate() -> None:
    rng = np.random.default_rng(0)
    style = Style(blinks_per_minute=20)
    count = 0
    for _ in range(30):
        lids = perform(None, 100, rng, "listener", 0.0, style).face_units[:, COLUMN["eyeBlinkLeft"]] > 0.5
        count += int((lids[1:] & ~lids[:-1]).sum())
    assert 12 < count / (30 * 100 / 25 / 60) < 30


def test_nobody_is_slow() -> None:
    """At least 500 frames a second on one core, also on a busy machine."""
    speech = babble(np.random.default_rng(1))
    perform(speech, 75, np.random.default_rng(0))
    start = time.process_time()
    for seed in range(10):
        perform(speech, 75, np.random.default_rng(seed))
    assert 750 / (time.process_time() - start) > 500


def test_prosody_follows_a_tone() -> None:
    times = np.arange(32000) / 16000
    pitch = np.where(times < 1, 110, 165)
    loud = np.where(times < 1, 0.05, 0.4)
    tone = (loud * np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 16000))).astype(np.float32)
    prosody = measure_prosody(tone, 400)
    assert prosody.melody[60:140].mean() < prosody.melody[260:340].mean()
    assert prosody.loudness[60:140].mean() < prosody.loudness[260:340].mean()
    silent = measure_prosody(np.zeros(16000, np.float32), 200)
    assert not silent.melody.any()
    assert not silent.accents.any()


@given(st.integers(1, 2000), st.floats(0.05, 1.0))
def test_noise_and_bumps_stay_in_bounds(count, seconds) -> None:
    noise = smooth_noise(np.random.default_rng(0), count, seconds)
    assert noise.shape == (count,)
    assert np.abs(noise).max() < 6
    ends = smooth(np.ones((count, 2)), seconds)
    assert np.allclose(ends, 1)
    curve = bump(np.arange(count) / 200, 0.1, seconds, 0.1, seconds)
    assert curve.min() >= 0
    assert curve.max() <= 1


def test_bad_input_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="frames"):
        perform(None, 0, rng)
    with pytest.raises(InputError, match="degrees"):
        perform(None, 10, rng, partner_direction_deg=170)
