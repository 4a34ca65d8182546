"""The Frechet distance against an independent implementation, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from talkies.domain.errors import InputError
from talkies.evaluation.frechet import Moments, frechet_distance
from talkies.evaluation.set_metric import distance, interval


def reference(a: np.ndarray, b: np.ndarray) -> float:
    """As `pytorch-fid` does it: `np.cov` and the root of the product."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    between = np.real(sqrtm(first @ second))
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * np.trace(between))


@pytest.mark.parametrize(("count", "width"), [(200, 24), (64, 48)])
def test_it_agrees_with_an_independent_implementation(count: int, width: int) -> None:
    rng = np.random.default_rng(width)
    mixing = rng.standard_normal((width, width)) / np.sqrt(width)
    a = rng.standard_normal((count, width)) @ mixing
    b = rng.standard_normal((count + 20, width)) * 1.3 + rng.standard_normal(width)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(reference(a, b), rel=1e-9, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_laws(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (Moments.of(rng.standard_normal((count, 8))) for _ in range(2))  # often rank-deficient
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=1e-6)
    assert frechet_distance(a, b) >= 0


def test_known_values() -> None:
    one = Moments(np.zeros(2), np.diag([1.0, 4.0]), 10)
    two = Moments(np.array([3.0, 0.0]), np.diag([9.0, 4.0]), 10)
    assert frechet_distance(one, two) == pytest.approx(9 + (1 - 3) ** 2)
    with pytest.raises(InputError, match="two features or more"):
        Moments.of(np.zeros((1, 4)))
    with pytest.raises(InputError, match="not a number"):
        Moments.of(np.full((3, 2), np.nan))


@pytest.mark.parametrize("videos", [12, 40])
def test_the_interval_holds_the_distance_of_many_other_draws(videos: int) -> None:
    """Videos of five features each; 95 of 100 intervals should hold the mean of many such draws."""
    rng = np.random.default_rng(videos)

    def draw(shift: float) -> list[list[np.ndarray]]:
        return [[rng.standard_normal((5, 4)) + rng.standard_normal(4) + shift for _ in range(videos)]]

    def apart(made: list[list[np.ndarray]], real: list[list[np.ndarray]]) -> float:
        return distance(made[0], real[0])

    expected = np.mean([apart(draw(1.0), draw(0.0)) for _ in range(400)])
    held = 0
    for _ in range(100):
        made, real = draw(1.0), draw(0.0)
        low, high = interval(made, real, apart(made, real)) or (np.nan, np.nan)
        held += low <= expected <= high
    assert held >= 85
    assert interval([made[0][:9]], real, 1.0) is None


def test_damage_is_monotone() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((300, 16))
    damaged = [frechet_distance(Moments.of(real), Moments.of(real + k * 0.3)) for k in range(4)]
    assert damaged == sorted(damaged) and damaged[0] < 1e-6
