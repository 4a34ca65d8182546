"""Motion for the stage's tests."""

from __future__ import annotations

import numpy as np

from talkies.stage.performance import FACE_UNITS, Performance


def performance(**units: float) -> Performance:
    """One frame with the given face units."""
    weights = np.zeros((1, 52), np.float32)
    for name, weight in units.items():
        weights[0, FACE_UNITS.index(name)] = weight
    return Performance(25.0, weights, np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32))
