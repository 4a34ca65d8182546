"""Blinks: as often as asked, never two at once, the same whatever part of the film is looked at."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.blinks import FALL, RISE, SHUT, blink_moments, lids

RATES = st.floats(1, 40)
SEEDS = st.integers(0, 2**31)


@given(RATES, SEEDS)
def test_a_longer_film_begins_with_the_blinks_of_a_shorter_one(rate: float, seed: int) -> None:
    short, long = (blink_moments(seconds, rate, np.random.default_rng(seed)) for seconds in (10, 30))
    assert long[: len(short)] == short
    assert all(moment >= 10 for moment in long[len(short) :])


@given(RATES, SEEDS)
def test_eyes_have_opened_before_they_shut_again(rate: float, seed: int) -> None:
    moments = blink_moments(120, rate, np.random.default_rng(seed))
    assert all(gap > FALL + SHUT + RISE for gap in np.diff(moments))


def test_people_blink_as_often_as_they_should() -> None:
    for rate in (5.0, 17.0, 30.0):
        counts = [len(blink_moments(600, rate, np.random.default_rng(seed))) for seed in range(40)]
        assert abs(np.mean(counts) / 10 - rate) < 0.05 * rate


@given(RATES, SEEDS, st.sampled_from([24.0, 25.0, 30.0]))
def test_lids_fall_all_the_way_and_rise_again(rate: float, seed: int, fps: float) -> None:
    moments = [moment for moment in blink_moments(9.5, rate, np.random.default_rng(seed)) if moment > 1 / fps]
    shut = lids((np.arange(int(10 * fps)) + 0.5) / fps, moments)
    assert shut.min() >= 0 and shut.max() <= 1 and shut[0] < 0.1
    for moment in moments:
        during = shut[int(moment * fps) : int((moment + FALL + SHUT + RISE) * fps) + 1]
        assert during.max() > 0.9
    assert (shut > 0).mean() <= len(moments) * (FALL + SHUT + RISE + 1 / fps) / 10
