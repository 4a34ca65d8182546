"""Arm poses as directions in space, turned into the rig's joint angles.

Directions are for the left arm (x to the viewer's right, y up, z towards the viewer); the right arm mirrors x. The
rig's rest directions differ by a few degrees between bodies, which no gesture notices.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

Vector = tuple[float, float, float]
Side = Literal["left", "right"]
Hand = Literal["open", "relaxed", "fist", "index", "thumb"]
_Array = NDArray[np.float64]

#: The left arm at rest, from the rig's joints.
_UPPER: Vector = (0.67, -0.74, 0.0)
_FORE: Vector = (0.52, -0.54, 0.66)
_PALM: Vector = (-0.77, -0.63, 0.0)
_FINGER: Vector = (0.12, -0.66, 0.74)
_THUMB: Vector = (-0.52, -0.34, 0.78)

#: Degrees that the three joints of the fingers bend, and those of the thumb.
_BEND: dict[Hand, tuple[float, float, float]] = {
    "open": (0, 4, 2),
    "relaxed": (18, 22, 12),
    "fist": (72, 92, 60),
    "index": (72, 92, 60),
    "thumb": (72, 92, 60),
}
_THUMB_BEND: dict[Hand, tuple[float, float, float]] = {
    "open": (-8, 0, 0),
    "relaxed": (8, 8, 8),
    "fist": (30, 38, 40),
    "index": (30, 38, 40),
    "thumb": (-22, -10, -8),
}


@dataclass(frozen=True)
class ArmPose:
    """Where one arm is.

    Attributes:
        upper: Direction from shoulder to elbow (any length). fore: From elbow to wrist.
        palm: Where the palm faces. hand: What the fingers do.
        shoulder: Degrees that the shoulder is lifted.
    """

    upper: Vector
    fore: Vector
    palm: Vector
    hand: Hand = "relaxed"
    shoulder: float = 0.0


@functools.lru_cache(maxsize=512)
def joint_turns(pose: ArmPose, side: Side) -> tuple[tuple[str, tuple[float, float, float]], ...]:
    """Rotation vectors (degrees) of the rig's joints, relative to the relaxed stance, that take an arm to `pose`."""
    from scipy.spatial.transform import Rotation

    relaxed = _relaxed()
    upper, fore, palm = (_unit(v) for v in (pose.upper, pose.fore, pose.palm))
    clavicle = Rotation.from_euler("z", pose.shoulder, degrees=True) * relaxed["clavicle"]
    trunk = clavicle * relaxed["shoulder01"]
    # The elbow is a hinge: the upper arm turns about itself until the hinge's axis fits both directions.
    arm = _between(_UPPER, np.cross(_UPPER, _FORE), upper, np.cross(upper, fore))
    swing, twist = _swing_twist(trunk.inv() * arm, _unit(_UPPER))
    half = Rotation.from_rotvec(twist * 0.5)
    hand = _between(_FORE, _PALM, fore, palm)
    fore_swing, fore_twist = _swing_twist(arm.inv() * hand, _unit(_FORE))
    third = Rotation.from_rotvec(fore_twist / 3)
    turns = {
        "clavicle": clavicle,
        "upperarm01": swing * half,
        "upperarm02": half,
        "lowerarm01": fore_swing * third,
        "lowerarm02": third,
        "wrist": third,
    }
    turns |= _fingers(pose.hand)
    out = []
    for name, turn in turns.items():
        x, y, z = (turn * relaxed[name].inv() if name in relaxed else turn).as_rotvec(degrees=True)
        if side == "right":  # the mirror image of a rotation: its axis is reflected and its sense reversed
            y, z = -y, -z
        out.append((f"{name}.{'L' if side == 'left' else 'R'}", (float(x), float(y), float(z))))
    return tuple(out)


def _fingers(hand: Hand) -> dict[str, Rotation]:
    from scipy.spatial.transform import Rotation

    curl = _unit(np.cross(_FINGER, _PALM))
    # The thumb folds across the palm, towards the little finger.
    fold = _unit(np.cross(_THUMB, _unit(_PALM) + 0.9 * _unit(np.cross(_unit(_PALM), _unit(_FORE)))))
    turns: dict[str, Rotation] = {}
    for finger in range(1, 6):
        straight = hand == "index" and finger == 2
        bend = _THUMB_BEND[hand] if finger == 1 else _BEND["open"] if straight else _BEND[hand]
        for joint, angle in enumerate(bend, 1):
            axis = fold if finger == 1 else curl
            turns[f"finger{finger}-{joint}"] = Rotation.from_rotvec(np.radians(angle) * axis)
    return turns


@functools.cache
def _relaxed() -> dict[str, Rotation]:
    """The stance that figures start from: the left side's joints, by name without the side."""
    from scipy.spatial.transform import Rotation

    from talkies.stage.figure import RELAXED

    found = {name.split(".")[0]: angles for name, angles in RELAXED.items() if name.endswith(".L")}
    return {name: Rotation.from_euler("zxy", (z, x, y), degrees=True) for name, (x, y, z) in found.items()}


def euler_degrees(vectors: _Array) -> NDArray[np.float32]:
    """Rotation vectors `[F, 3]` in degrees to the Euler angles (x, y, z) `[F, 3]` of `Performance.bones`."""
    from scipy.spatial.transform import Rotation

    z, x, y = Rotation.from_rotvec(vectors, degrees=True).as_euler("zxy", degrees=True).T
    return np.stack([x, y, z], axis=1).astype(np.float32)


def _unit(vector: object) -> _Array:
    array = np.asarray(vector, np.float64)
    return np.asarray(array / np.linalg.norm(array))


def _frame(main: object, other: object) -> _Array:
    """Orthonormal columns: `main`, what `other` adds to it, and their cross product."""
    first = _unit(main)
    second = np.asarray(other, np.float64)
    second = _unit(second - first * (first @ second))
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _between(main: object, other: object, to_main: object, to_other: object) -> Rotation:
    """The rotation that takes the direction `main` to `to_main`, and `other` as near as it can to `to_other`."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(_frame(to_main, to_other) @ _frame(main, other).T)


def _swing_twist(turn: Rotation, axis: _Array) -> tuple[Rotation, _Array]:
    """`turn` as a turn about `axis` (its rotation vector in radians is second) and then one that has none of it."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = turn.as_quat()
    along = np.array([x, y, z]) @ axis
    twist = Rotation.from_quat([*(along * axis), w] if abs(along) + abs(w) > 1e-9 else [0, 0, 0, 1])
    return turn * twist.inv(), twist.as_rotvec()
