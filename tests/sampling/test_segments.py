"""The segment plan: laws over all lengths, and the authors' positions where theirs are sane."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.clip import frames_for, is_clip_length
from talkies.domain.errors import InputError
from talkies.sampling.segments import plan_segments

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "audio_window.json"


@given(
    total=st.integers(1, 20_000),
    n=st.integers(1, 40),
    k=st.integers(0, 30),
    even_ending=st.booleans(),
)
def test_segments_cover_every_frame_once(total: int, n: int, k: int, even_ending: bool) -> None:
    segment_frames, motion_frames = 4 * n + 1, 4 * min(k, n - 1) + 1
    plan = plan_segments(total, segment_frames, motion_frames, even_ending)
    covered = 0
    for index, segment in enumerate(plan.segments):
        assert segment.index == index
        assert segment.first_kept == covered
        assert is_clip_length(segment.num_frames) and segment.num_frames <= segment_frames
        assert segment.motion_frames == (motion_frames if index else 0)
        assert segment.kept_frames >= 1
        covered += segment.kept_frames
    assert covered == total
    # Nothing is rendered and thrown away but what 4n+1 asks for.
    for segment in plan.segments[:-1]:
        assert segment.kept_frames == segment.num_frames - segment.motion_frames
        assert segment.num_frames >= motion_frames  # it can hand them over
    last = plan.segments[-1]
    assert last.num_frames - last.motion_frames - last.kept_frames <= 3


@given(total=st.integers(82, 20_000), k=st.integers(0, 15))
def test_even_ending_leaves_no_short_segment(total: int, k: int) -> None:
    motion_frames = 4 * k + 1
    step = 81 - motion_frames
    last = plan_segments(total, 81, motion_frames).segments[-1]
    assert last.num_frames - motion_frames >= min(step / 2, step) - 4
    assert len(plan_segments(total, 81, motion_frames).segments) == len(
        plan_segments(total, 81, motion_frames, even_ending=False).segments
    )


@pytest.mark.parametrize("seconds", [0.2, 1, 3.24, 3.28, 10, 39.9, 41, 600, 3 * 3600])
@pytest.mark.parametrize("motion_frames", [5, 25])
def test_length_is_the_audios(seconds: float, motion_frames: int) -> None:
    plan = plan_segments(frames_for(seconds), 81, motion_frames)
    assert abs(sum(segment.kept_frames for segment in plan.segments) - 25 * seconds) <= 0.5


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not here")
def test_starts_are_the_authors() -> None:
    """Every clip the authors keep frames of starts where ours does; they drop the end and may repeat the last clip."""
    checked = 0
    for case in json.loads(GOLDEN.read_text())["streaming"]:
        if not case.get("kept") or min(case["lens"]) <= 81:
            continue
        plan = plan_segments(case["lens"][0], case["frame_num"], case["motion"])
        for index, _, _ in case["kept"][:-1]:
            assert plan.segments[index].start == case["clips"][index]["audio_start"]
            checked += 1
        assert len(plan.segments) <= case["clips_run"] or case["max_frames"] < case["lens"][0]
        assert sum(segment.kept_frames for segment in plan.segments) == case["lens"][0] >= case["frames_out"]
    assert checked > 100


@pytest.mark.parametrize(
    ("total", "segment", "motion"), [(0, 81, 5), (10, 80, 5), (10, 81, 6), (10, 81, 81), (1, 0, 1)]
)
def test_impossible_lengths_are_refused(total: int, segment: int, motion: int) -> None:
    with pytest.raises(InputError, match="frames"):
        plan_segments(total, segment, motion)
