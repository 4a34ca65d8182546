"""What a performer does, frame by frame: the one record between motion (who makes it) and figures (who show it)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from talkies.domain.face_units import FACE_UNITS

__all__ = ["FACE_UNITS", "Performance"]


@dataclass(frozen=True)
class Performance:
    """One person's motion over `F` video frames.

    Attributes:
        fps: Frames per second.
        face_units: `[F, 52]` float32 in [0, 1], columns named by `FACE_UNITS`.
        head: `[F, 3]` float32, yaw, pitch, roll in degrees (yaw > 0 turns to the viewer's right, pitch > 0 looks up,
            roll > 0 tilts the crown to the viewer's right); spread over neck and head by the figure.
        gaze: `[F, 2]` float32, yaw and pitch of the eyes in degrees relative to the head, same signs.
        bones: Further joints by rig name, each `[F, 3]` float32 Euler angles (x, y, z) in degrees from the rest pose.
    """

    fps: float
    face_units: NDArray[np.float32]
    head: NDArray[np.float32]
    gaze: NDArray[np.float32]
    bones: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.face_units)
