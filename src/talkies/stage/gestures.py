"""Gestures with known timing, laid over a performance.

Every gesture has a preparation, a stroke (the part that means something) and a retraction (Kendon 2004), so a label
says exactly when it can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.stage.arms import ArmPose, Side, euler_degrees, joint_turns
from talkies.stage.performance import FACE_UNITS, Performance

GestureName = Literal[
    "wave", "nod", "shake", "point", "raise_hand", "shrug", "lean", "turn", "thumbs_up", "cross_arms"
]  # fmt: skip
GESTURES: tuple[GestureName, ...] = (
    "wave", "nod", "shake", "point", "raise_hand", "shrug", "lean", "turn", "thumbs_up", "cross_arms",
)  # fmt: skip
#: Gestures that need arms in the picture.
ARM_GESTURES: frozenset[GestureName] = frozenset({"wave", "point", "raise_hand", "shrug", "thumbs_up", "cross_arms"})

_Array = NDArray[np.float64]
#: Seconds of preparation, shortest and longest stroke, retraction.
_TIMES: dict[GestureName, tuple[float, float, float, float]] = {
    "wave": (0.5, 0.9, 2.0, 0.5),
    "nod": (0.12, 0.5, 1.3, 0.18),
    "shake": (0.15, 0.7, 1.5, 0.2),
    "point": (0.45, 0.6, 1.4, 0.5),
    "raise_hand": (0.55, 0.7, 2.0, 0.55),
    "shrug": (0.3, 0.4, 0.9, 0.35),
    "lean": (0.6, 0.8, 2.2, 0.6),
    "turn": (0.45, 0.8, 2.5, 0.5),
    "thumbs_up": (0.45, 0.7, 1.6, 0.45),
    "cross_arms": (0.7, 0.8, 2.5, 0.7),
}

_WAVE = (
    ArmPose((0.2, -0.94, 0.28), (0.2, 0.94, 0.25), (0, 0.1, 1), "open"),
    ArmPose((0.2, -0.94, 0.28), (-0.32, 0.91, 0.25), (0, 0.1, 1), "open"),
)
_RAISED = ArmPose((0.26, -0.55, 0.78), (-0.04, 0.97, 0.2), (0, 0, 1), "open", 5)
_THUMB = ArmPose((0.22, -0.93, 0.25), (-0.35, 0.55, 0.75), (-0.9, 0, -0.4), "thumb")
_SHRUG = ArmPose((0.2, -0.97, 0.02), (0.38, 0.15, 0.9), (0.1, 0.9, 0.4), "open", 12)
#: Crossed arms, high enough to be seen from the waist up: the right one lies on top.
_CROSSED: dict[Side, ArmPose] = {
    "left": ArmPose((0.28, -0.74, 0.55), (-0.92, 0.16, 0.25), (0.1, -0.1, -1)),
    "right": ArmPose((0.28, -0.74, 0.68), (-0.92, 0.28, 0.22), (0.1, -0.2, -1)),
}


@dataclass(frozen=True)
class Gesture:
    """One gesture of one person.

    Attributes:
        name: Which.
        start: Seconds, preparation begins. stroke_start, stroke_end: The part that can be recognised. end: All is over.
        side: Which arm, for wave, point, raise_hand and thumbs_up.
        direction_deg: Where to, for point, lean and turn: degrees, > 0 to the viewer's right.
        strength: 0.5 to 1.5.
    """

    name: GestureName
    start: float
    stroke_start: float
    stroke_end: float
    end: float
    side: Side = "right"
    direction_deg: float = 0.0
    strength: float = 1.0

    def envelope(self, times: _Array) -> _Array:
        """0 outside the gesture, 1 during the stroke, smooth between: `[n]`."""
        up = np.clip((times - self.start) / (self.stroke_start - self.start), 0, 1)
        down = np.clip((self.end - times) / (self.end - self.stroke_end), 0, 1)
        ease = np.minimum(up, down)
        return np.asarray(ease**3 * (10 - 15 * ease + 6 * ease**2))  # minimum jerk (Flash and Hogan 1985)


def plan_gesture(
    rng: np.random.Generator, name: GestureName, earliest: float, latest: float, partner_direction_deg: float = 0.0
) -> Gesture:
    """A gesture that fits between `earliest` and `latest` seconds.

    Raises:
        InputError: The time is too short for it.
    """
    before, shortest, longest, after = _TIMES[name]
    room = latest - earliest - before - after
    if room < shortest - 1e-9:
        raise InputError(
            f"{name} needs {before + shortest + after:.1f} s, there are {latest - earliest:.1f}",
            hint="Ask for a longer clip or another gesture.",
        )
    stroke = float(rng.uniform(shortest, min(longest, max(room, shortest))))
    start = earliest + float(rng.uniform(0, max(room - stroke, 0)))
    if name == "point":
        towards = partner_direction_deg if abs(partner_direction_deg) > 5 else float(rng.choice([-60, 0, 60]))
    elif name == "turn":
        towards = partner_direction_deg if abs(partner_direction_deg) > 5 else float(rng.choice([-45, 45]))
    else:
        towards = float(rng.choice([-15, 0, 15])) if name == "lean" else 0.0
    # People point across the body only for near things: the arm on the target's side is used.
    side: Side = ("left" if towards > 0 else "right") if towards and name == "point" else _pick_side(rng)
    strength = float(rng.uniform(0.75, 1.25))
    return Gesture(name, start, start + before, start + before + stroke, start + before + stroke + after, side, towards,
                   strength)  # fmt: skip


def preparation(name: GestureName) -> float:
    """Seconds from a gesture's start to its stroke."""
    return _TIMES[name][0]


def shortest_time(name: GestureName) -> float:
    """Seconds that a gesture takes at least."""
    before, shortest, _, after = _TIMES[name]
    return before + shortest + after


def apply_gestures(performance: Performance, gestures: Sequence[Gesture]) -> Performance:
    """The same performance with `gestures` added to head, face and joints."""
    times: _Array = (np.arange(len(performance), dtype=np.float64) + 0.5) / performance.fps
    units = performance.face_units.astype(np.float64)
    head = performance.head.astype(np.float64)
    turns: dict[str, _Array] = {}
    for gesture in gestures:
        level = gesture.envelope(times)
        _move_head(gesture, times, level, head)
        _move_face(gesture, level, units)
        _move_body(gesture, times, level, turns)
    bones = dict(performance.bones)
    for name, vectors in turns.items():
        moved = euler_degrees(vectors)
        bones[name] = moved + bones[name] if name in bones else moved
    turned = (head - performance.head)[:, :2]
    keeps_looking = np.array([gesture.name not in {"turn"} for gesture in gestures]).all() if gestures else True
    gaze = performance.gaze - 0.8 * turned if keeps_looking else performance.gaze
    return replace(
        performance,
        face_units=np.clip(units, 0, 1).astype(np.float32),
        head=head.astype(np.float32),
        gaze=np.clip(gaze, -28, 28).astype(np.float32),
        bones=bones,
    )


def gesture_labels(gestures: Sequence[Gesture], frames: int, fps: float) -> NDArray[np.uint8]:
    """Per frame the number of the gesture whose stroke is on, 1 + its index in `GESTURES`, or 0: `[frames]`."""
    times = (np.arange(frames) + 0.5) / fps
    out = np.zeros(frames, np.uint8)
    for gesture in gestures:
        out[(times >= gesture.stroke_start) & (times < gesture.stroke_end)] = 1 + GESTURES.index(gesture.name)
    return out


def _pick_side(rng: np.random.Generator) -> Side:
    return "right" if rng.random() < 0.7 else "left"


def _beats(gesture: Gesture, times: _Array, hertz: float) -> _Array:
    """A whole number of swings over the stroke, in [-1, 1], starting and ending at 0."""
    length = gesture.stroke_end - gesture.stroke_start
    beats = max(1, round(length * hertz))
    return np.asarray(np.sin(2 * np.pi * beats * np.clip((times - gesture.stroke_start) / length, 0, 1)))


def _move_head(gesture: Gesture, times: _Array, level: _Array, head: _Array) -> None:
    amount = gesture.strength * level
    if gesture.name == "nod":
        head[:, 1] -= 9.0 * amount * (0.35 + 0.65 * _beats(gesture, times, 2.2))
    elif gesture.name == "shake":
        head[:, 0] += 13.0 * amount * _beats(gesture, times, 1.8)
    elif gesture.name == "turn":
        head[:, 0] += level * (0.75 * gesture.direction_deg - head[:, 0])
    elif gesture.name == "point":
        head[:, 0] += level * 0.35 * (gesture.direction_deg - head[:, 0])
    elif gesture.name == "shrug":
        head[:, 2] += 7.0 * amount * (1 if gesture.side == "right" else -1)
        head[:, 1] += 2.0 * amount
    elif gesture.name == "lean":
        head[:, 1] += 10.0 * amount  # the face stays upright while the trunk tips
        head[:, 2] -= 0.5 * level * gesture.direction_deg


def _move_face(gesture: Gesture, level: _Array, units: _Array) -> None:
    additions: dict[GestureName, tuple[tuple[str, float], ...]] = {
        "wave": (("mouthSmile", 0.28), ("cheekSquint", 0.15)),
        "thumbs_up": (("mouthSmile", 0.25), ("cheekSquint", 0.12)),
        "shrug": (("mouthFrown", 0.25), ("browOuterUp", 0.3)),
        "raise_hand": (("browOuterUp", 0.18),),
        "shake": (("browDown", 0.18),),
    }
    for stem, amount in additions.get(gesture.name, ()):
        for side in ("Left", "Right"):
            units[:, FACE_UNITS.index(stem + side)] += gesture.strength * amount * level


def _move_body(gesture: Gesture, times: _Array, level: _Array, turns: dict[str, _Array]) -> None:
    def bend(bone: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        turns[bone] = turns.get(bone, 0) + level[:, None] * np.array([x, y, z])

    def place(pose: ArmPose, side: Side, weight: _Array) -> None:
        for bone, vector in joint_turns(pose, side):
            turns[bone] = turns.get(bone, 0) + weight[:, None] * np.array(vector)

    if gesture.name == "wave":
        swing = 0.5 + 0.5 * gesture.strength / 1.5 * _beats(gesture, times, 2.4)
        place(_WAVE[0], gesture.side, level * swing)
        place(_WAVE[1], gesture.side, level * (1 - swing))
    elif gesture.name == "raise_hand":
        place(_RAISED, gesture.side, level)
    elif gesture.name == "thumbs_up":
        place(_THUMB, gesture.side, level)
    elif gesture.name == "point":
        place(_pointing(gesture.direction_deg, gesture.side), gesture.side, level)
    elif gesture.name == "shrug":
        place(_SHRUG, "left", level)
        place(_SHRUG, "right", level)
    elif gesture.name == "cross_arms":
        for side, pose in _CROSSED.items():
            place(pose, side, level)
    elif gesture.name == "lean":
        forward = (18.0 if gesture.direction_deg == 0 else 4.0) * gesture.strength
        for bone in ("spine04", "spine03", "spine02"):
            bend(bone, x=forward / 3, z=-gesture.direction_deg / 3)
    elif gesture.name == "turn":
        for bone in ("spine03", "spine02"):
            bend(bone, y=0.12 * gesture.direction_deg)


def _pointing(direction_deg: float, side: Side) -> ArmPose:
    """Arm and index finger towards a direction, seen from the arm's own side."""
    angle = np.radians(np.clip(direction_deg if side == "left" else -direction_deg, -30, 60))
    fore = (0.95 * float(np.sin(angle)), 0.3, 0.95 * float(np.cos(angle)))  # at the height of the chest, to be seen
    return ArmPose((0.2, -0.42, 0.85), fore, (-0.3, -0.95, 0.0), "index")
