"""Sizes and lengths: the authors' bucket picks, 4n+1, rounding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.clip import (
    BUCKETS,
    CoverCrop,
    FrameSize,
    fit_area,
    frames_for,
    is_clip_length,
    nearest_bucket,
    round_up_to_clip,
)  # fmt: skip
from talkies.domain.errors import InputError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "masks.json"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the reference goldens (../shared/golden) are not here")


@needs_golden
def test_bucket_picks_and_crops_are_the_authors() -> None:
    picks = json.loads(GOLDEN.read_text())["buckets"]
    assert picks
    for pick in picks:
        width, height = pick["image_wh"]
        for bucket in BUCKETS:
            size = nearest_bucket(width, height, bucket)
            crop = CoverCrop.of(FrameSize(width, height), size)
            assert [size.height, size.width] == pick[bucket]["target_hw"]
            assert [crop.resized.width, crop.resized.height] == pick[bucket]["resized_wh"]
            assert [crop.top, crop.left] == pick[bucket]["crop_top_left"]


@given(st.integers(1, 100_000))
def test_round_up_to_clip_is_the_next_4n_plus_1(frames: int) -> None:
    rounded = round_up_to_clip(frames)
    assert is_clip_length(rounded)
    assert 0 <= rounded - frames < 4


@given(st.floats(0.2, 86_400))
def test_a_video_is_as_long_as_its_sound_within_half_a_frame(seconds: float) -> None:
    assert abs(frames_for(seconds) - seconds * 25) <= 0.5 + 1e-6


@given(st.integers(48, 8000), st.integers(48, 8000), st.sampled_from([8, 16, 32]))
def test_fit_area_keeps_area_and_shape(width: int, height: int, multiple: int) -> None:
    if not 1 / 3 < width / height < 3:
        return
    size = fit_area(width, height, 192 * 320, multiple)
    assert size.width % multiple == size.height % multiple == 0
    assert 0.7 < size.width * size.height / (192 * 320) < 1.4
    assert 0.7 < (size.width / size.height) / (width / height) < 1.43


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 100), st.integers(1, 100))
def test_cover_crop_covers(width: int, height: int, columns: int, rows: int) -> None:
    crop = CoverCrop.of(FrameSize(width, height), FrameSize(columns * 16, rows * 16))
    assert 0 <= crop.left <= crop.resized.width - crop.target.width
    assert 0 <= crop.top <= crop.resized.height - crop.target.height


@pytest.mark.parametrize("text", ["832", "832x", "832x480x3", "10x10", "99999x480", "-8x480", "832 by 480", ""])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InputError):
        FrameSize.parse(text)


def test_a_size_off_the_grid_names_the_nearest() -> None:
    assert FrameSize.parse("832x480").require_multiple(16) == FrameSize(832, 480)
    with pytest.raises(InputError, match="nearest is 832x480"):
        FrameSize.parse("830x481").require_multiple(16)
