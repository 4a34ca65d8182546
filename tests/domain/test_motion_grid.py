"""How finely motion is generated."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.motion_grid import area_of, motion_grid


def test_a_frame_as_in_training_is_taken_as_it_is() -> None:
    assert motion_grid(320, 192, 16, 1.0, 12288, 98304) == (12, 20)
    assert motion_grid(640, 384, 16, 0.5, 12288, 98304) == (12, 20)


@settings(max_examples=200, deadline=None)
@given(st.integers(64, 4096), st.integers(64, 4096), st.floats(0.02, 20))
def test_the_grid_keeps_proportions_and_bounds(width: int, height: int, scale: float) -> None:
    ratio = width / height
    for people in (2, 32):
        least, most = 0.4 * area_of(people, 31.0), 1.6 * area_of(people, 31.0)
        rows, columns = motion_grid(width, height, 16, scale, least, most)
        assert rows % 2 == columns % 2 == 0 and min(rows, columns) >= 2
    if not 1 / 3 < ratio < 3:  # long strips cannot keep their proportions in pairs of cells
        return
    least, most = 0.4 * area_of(2, 31.0), 1.6 * area_of(2, 31.0)
    rows, columns = motion_grid(width, height, 16, scale, least, most)
    assert 0.8 < (columns / rows) / ratio < 1.25
    assert 0.5 * least < rows * columns * 256 < 2 * most


def test_people_need_room() -> None:
    assert area_of(3, 31.0) == 3 * area_of(1, 31.0) == 3 * area_of(0, 31.0)
