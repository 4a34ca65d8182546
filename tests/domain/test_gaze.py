"""Gaze: it begins at rest, jumps and rests, and is the same whatever part of the film is looked at."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.gaze import JUMP, fixations, wandering

SEEDS = st.integers(0, 2**31)


@given(SEEDS, st.floats(0, 1), st.floats(0.1, 20), st.floats(0, 20))
def test_a_longer_film_begins_with_the_gaze_of_a_shorter_one(seed: int, away: float, short: float, more: float) -> None:
    times = np.arange(0, short + more, 0.04)
    whole = wandering(times, away, np.random.default_rng(seed))
    part = times[times <= short]
    assert np.array_equal(whole[: len(part)], wandering(part, away, np.random.default_rng(seed)))
    assert not whole[times < 0.3].any()


@given(SEEDS, st.floats(0, 1))
def test_eyes_rest_most_of_the_time_and_stay_within_what_heads_leave_to_them(seed: int, away: float) -> None:
    times = np.arange(0, 30, JUMP / 4)
    eyes = wandering(times, away, np.random.default_rng(seed))
    moving = np.abs(np.diff(eyes, axis=0)).any(1)
    assert 0 < moving.mean() < 0.2
    assert np.abs(eyes[:, 0]).max() <= 18 and np.abs(eyes[:, 1]).max() <= 9


def test_people_look_away_as_often_as_they_should() -> None:
    for away in (0.0, 0.2, 1.0):
        looked = list(islice(fixations(away, np.random.default_rng(0)), 2000))
        share = np.mean([abs(fixation.offset[0]) > 6 for fixation in looked])
        assert abs(share - away) < 0.03
        assert all(0.3 <= fixation.seconds <= 2.2 for fixation in looked)


def test_nothing_to_look_at() -> None:
    assert wandering(np.zeros(0), 0.2, np.random.default_rng(0)).shape == (0, 2)
