"""How curves agree: shifts are found, what others do is taken away, still curves correlate with nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.evaluation.curves import MAX_SHIFT, align, correlation, partial_correlation, slope


def curve(seed: int, length: int = 120) -> np.ndarray:
    """A smooth random curve, as lips move."""
    noise = np.random.default_rng(seed).standard_normal(length + 8)
    return 0.1 * np.convolve(noise, np.hanning(9), "valid")


@settings(max_examples=30, deadline=None)
@given(st.integers(-MAX_SHIFT, MAX_SHIFT), st.integers(0, 10**6))
def test_a_shift_is_found_where_it_is(shift: int, seed: int) -> None:
    both = curve(seed, 150)
    heard = both[15:135]
    seen = both[15 - shift : 135 - shift]  # `shift` frames late
    found = align(seen, heard)
    assert found.offset == shift
    assert found.best == pytest.approx(1.0)
    assert found.confidence > 0.3
    assert (found.near(1) > 0.99) == (abs(shift) <= 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 50), st.floats(-5, 5), st.integers(0, 10**6))
def test_scale_and_rest_do_not_matter(scale: float, rest: float, seed: int) -> None:
    a, b = curve(seed), curve(seed + 1)
    assert correlation(scale * a + rest, b) == pytest.approx(correlation(a, b), abs=1e-9)
    assert slope(scale * a + rest, a) == pytest.approx(scale)


def test_still_curves_correlate_with_nothing() -> None:
    still, moving = np.full(50, 0.3), curve(3, 50)
    assert correlation(still, moving) == correlation(moving, still) == 0.0
    assert np.isnan(slope(moving, still))
    assert align(still, moving).confidence == 0.0


def test_short_curves_have_no_far_shifts() -> None:
    found = align(curve(1, 20), curve(1, 20))
    assert found.offset == 0 and (found.scores[:3] == 0).all()


def test_what_the_own_voice_explains_is_no_crosstalk() -> None:
    own, other = curve(5, 400), curve(6, 400)
    copied = own + 0.5 * other  # both voices want about the same
    assert abs(partial_correlation(own, copied, own)) < 0.05
    assert partial_correlation(own + 0.3 * other, other, own) > 0.9
    assert partial_correlation(own, other, np.zeros(400)) == correlation(own, other)
