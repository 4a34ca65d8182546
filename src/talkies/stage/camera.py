"""A camera with a long lens, as portraits are taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from talkies.stage.body import Array

Vector = tuple[float, float, float]


@lru_cache(maxsize=64)
def _view_of(position: Vector, target: Vector) -> Array:
    return look_at(np.asarray(position, np.float64), np.asarray(target, np.float64))


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from, in decimetres.

    Attributes:
        position: The lens. target: What is in the middle of the picture. field: Vertical angle of view in degrees.
    """

    position: Vector
    target: Vector
    field: float

    @classmethod
    def framing(
        cls, target: Vector, height: float, field: float = 11.0, yaw: float = 0.0, pitch: float = 0.0
    ) -> Camera:
        """A camera that sees `height` decimetres around `target`.

        Args:
            target: Centre of the picture.
            height: Visible height at the target, decimetres.
            field: Vertical angle of view in degrees.
            yaw: Turns the camera about the target, positive to its right, degrees.
            pitch: Raises the camera about the target, degrees.
        """
        distance = height / 2 / np.tan(np.radians(field) / 2)
        a, b = np.radians(yaw), np.radians(pitch)
        offset = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)]) * distance
        x, y, z = np.asarray(target) + offset
        return cls((float(x), float(y), float(z)), target, field)

    def view(self) -> Array:
        """World to camera, `[3, 4]`: x right, y up, z towards the viewer."""
        return _view_of(self.position, self.target)

    def focal(self, height: int) -> float:
        """Focal length in pixels for a picture `height` pixels tall."""
        return height / 2 / float(np.tan(np.radians(self.field) / 2))


def look_at(position: np.ndarray, target: np.ndarray) -> Array:
    """A view matrix `[3, 4]` with the world's y upwards."""
    back = position - target
    back = back / np.linalg.norm(back)
    up = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.98 else np.array([0.0, 0.0, -1.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back])
    return np.concatenate([rotation, (-rotation @ position)[:, None]], axis=1).astype(np.float32)
