"""Light set-ups: a key, a fill, a rim and the ambience of sky and ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talkies.stage.body import Array
from talkies.stage.shading import LIGHT_ROWS

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Where light comes from and how much; colours are linear intensities.

    Attributes:
        name: For captions. key_from, fill_from, rim_from: Directions towards the lights (any length).
        key, fill, rim: Their colours. sky, ground: Ambience from above and below. exposure: Final scale.
        shadows: Whether the key casts shadows.
    """

    name: str
    key_from: Vector
    key: Vector
    fill_from: Vector
    fill: Vector
    rim_from: Vector
    rim: Vector
    sky: Vector
    ground: Vector
    exposure: float = 0.62
    shadows: bool = True

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Light:
        """A varied but flattering set-up: one of `SETUPS`, mirrored, turned, warmed and dimmed at random."""
        base = SETUPS[int(rng.integers(len(SETUPS)))]
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        level = float(np.exp(rng.normal(0, 0.10)))
        tint = np.exp(rng.normal(0, 0.05, 3))
        lean, lift = float(rng.normal(0, 0.18)), float(rng.normal(0, 0.14))
        return cls(
            name=base.name,
            key_from=(mirror * base.key_from[0] + lean, base.key_from[1] + lift, base.key_from[2]),
            key=_scaled(base.key, level * tint),
            fill_from=(mirror * base.fill_from[0], base.fill_from[1], base.fill_from[2]),
            fill=_scaled(base.fill, np.full(3, np.exp(rng.normal(0, 0.2)))),
            rim_from=(mirror * base.rim_from[0], base.rim_from[1], base.rim_from[2]),
            rim=_scaled(base.rim, np.full(3, np.exp(rng.normal(0, 0.4)))),
            sky=_scaled(base.sky, tint),
            ground=_scaled(base.ground, tint),
            exposure=base.exposure * float(np.exp(rng.normal(0, 0.06))),
            shadows=base.shadows,
        )

    def table(self) -> Array:
        """The rows the shader reads, `[LIGHT_ROWS, 3]`."""
        rows = [
            _unit(self.key_from), self.key, _unit(self.fill_from), self.fill, _unit(self.rim_from), self.rim,
            self.sky, self.ground, (self.exposure, 0.0, 0.0),
        ]  # fmt: skip
        table = np.array(rows, np.float32)
        assert table.shape == (LIGHT_ROWS, 3)  # noqa: S101
        return table


def _scaled(colour: Vector, factor: np.ndarray) -> Vector:
    red, green, blue = np.asarray(colour) * factor
    return float(red), float(green), float(blue)


def _unit(direction: Vector) -> Vector:
    vector = np.asarray(direction, np.float64)
    x, y, z = vector / np.linalg.norm(vector)
    return float(x), float(y), float(z)


SETUPS: tuple[Light, ...] = (
    Light("soft daylight", (-0.5, 0.6, 0.75), (2.2, 2.05, 1.9), (0.8, 0.1, 0.5), (0.45, 0.50, 0.60),
          (0.6, 0.5, -0.8), (0.9, 0.9, 1.0), (0.62, 0.66, 0.72), (0.30, 0.26, 0.24)),
    Light("window light", (-0.95, 0.35, 0.45), (2.5, 2.45, 2.4), (0.9, 0.0, 0.5), (0.30, 0.30, 0.34),
          (0.7, 0.4, -0.7), (0.5, 0.5, 0.6), (0.50, 0.54, 0.60), (0.28, 0.25, 0.23)),
    Light("warm lamp light", (0.6, 0.5, 0.7), (2.5, 2.0, 1.5), (-0.8, 0.2, 0.5), (0.32, 0.36, 0.50),
          (-0.6, 0.4, -0.8), (0.7, 0.8, 1.0), (0.46, 0.48, 0.55), (0.30, 0.24, 0.20)),
    Light("overcast daylight", (-0.2, 0.85, 0.6), (1.3, 1.38, 1.5), (0.6, 0.3, 0.7), (0.36, 0.39, 0.43),
          (0.3, 0.6, -0.8), (0.4, 0.45, 0.5), (0.72, 0.76, 0.82), (0.36, 0.34, 0.32)),
    Light("studio light", (-0.6, 0.45, 0.8), (1.9, 1.9, 1.9), (0.75, 0.25, 0.7), (0.62, 0.62, 0.65),
          (0.8, 0.5, -0.7), (1.3, 1.3, 1.35), (0.55, 0.56, 0.58), (0.34, 0.33, 0.33)),
    Light("low evening sun", (-0.9, 0.25, 0.55), (2.7, 1.95, 1.25), (0.7, 0.3, 0.5), (0.30, 0.38, 0.55),
          (0.7, 0.3, -0.7), (1.1, 0.7, 0.4), (0.42, 0.48, 0.60), (0.34, 0.25, 0.18)),
    Light("coloured light", (-0.6, 0.4, 0.8), (1.9, 1.75, 1.8), (0.9, 0.1, 0.4), (0.55, 0.30, 0.75),
          (0.8, 0.3, -0.6), (0.3, 1.0, 1.4), (0.44, 0.46, 0.58), (0.28, 0.22, 0.28)),
    Light("office light", (0.1, 0.95, 0.45), (1.75, 1.8, 1.8), (-0.4, 0.2, 0.9), (0.55, 0.55, 0.54),
          (-0.6, 0.7, -0.5), (0.4, 0.4, 0.4), (0.72, 0.74, 0.74), (0.42, 0.40, 0.38)),
)  # fmt: skip
