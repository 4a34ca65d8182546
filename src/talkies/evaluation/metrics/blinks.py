"""Blinks: do people's eyes shut now and then, as eyes do?

Lids are read by the network of `networks.face_units`. What it sees of shut eyes is 0.35 to 1 from face to face, and
less of open ones: a blink is counted where it rises above `SHUT`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.metrics.efid import UnitExpression
from talkies.evaluation.sample import Observation

SHUT = 0.35
_LIDS = [FACE_UNITS.index("eyeBlinkLeft"), FACE_UNITS.index("eyeBlinkRight")]


def measure(seen: Observation) -> dict[str, float]:
    """Mean over people.

    Raises:
        InputError: A face is not found.
    """
    units = [UnitExpression().coefficients(seen, k) for k in range(len(seen.sample.people))]
    counts = [count_blinks(each[:, _LIDS].mean(1)) for each in units]
    return {"blinks": float(np.mean(counts)) * 60 * FPS / seen.size[0]}


def count_blinks(lids: NDArray[np.floating]) -> int:
    """How often `lids [F]` fall; eyes that are shut from the start have not blinked."""
    shut = lids > SHUT
    return int((shut[1:] & ~shut[:-1]).sum())


BLINKS = Metric(
    name="blinks",
    columns=(Column("blinks", "none", "per minute", "how often eyes shut, mean over people"),),
    needs="faces",
    measure=measure,
    weights=UnitExpression.weights,
    source="Bentivoglio et al., Movement Disorders 12 (1997), for how often people blink",
)
