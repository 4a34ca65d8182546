"""Sound in memory at another sampling rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: What speech encoders hear and the stage's voices are made at, in Hz.
SAMPLING_RATE = 16_000


def resample(
    waveform: NDArray[np.float32], source_rate: float, target_rate: float = SAMPLING_RATE
) -> NDArray[np.float32]:
    """`waveform` `[n]` at `source_rate` Hz to `[ceil(n * target_rate / source_rate)]` at `target_rate` Hz, no delay."""
    from scipy.signal import resample_poly

    ratio = Fraction(target_rate / source_rate).limit_denominator(640)
    return np.asarray(resample_poly(waveform, ratio.numerator, ratio.denominator), np.float32)
