"""Mel cepstral coefficients as the published SyncNet hears them (the defaults of `python_speech_features`).

25 ms windows every 10 ms without tapering, pre-emphasis 0.97, 26 triangular bands from 0 to 8 kHz, log, orthonormal
DCT-II, 13 coefficients, liftering 22, the first one replaced by the log of the frame's energy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from talkies.media.resampling import SAMPLING_RATE

_WINDOW, _STEP, _FFT, _BANDS, _LIFTER = 400, 160, 512, 26, 22


def mfcc(sound: NDArray[np.floating], count: int = 13) -> NDArray[np.float64]:
    """Coefficients over time.

    Args:
        sound: `[n]` at 16 kHz in the range of 16-bit integers.
        count: Of coefficients.

    Returns:
        `[T, count]`, T = 1 + ceil((n - 400) / 160).
    """
    from scipy.fft import dct

    given = np.asarray(sound, np.float64)
    emphasised = np.append(given[:1], given[1:] - 0.97 * given[:-1])
    frames = 1 if len(given) <= _WINDOW else 1 + -(-(len(given) - _WINDOW) // _STEP)
    padded = np.zeros((frames - 1) * _STEP + _WINDOW)
    padded[: len(emphasised)] = emphasised[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]  # [T, 400]
    power = np.square(np.abs(np.fft.rfft(windows, _FFT))) / _FFT  # [T, 257]
    tiny = np.finfo(np.float64).eps
    energy = np.maximum(power.sum(1), tiny)
    bands = np.maximum(power @ _bank().T, tiny)
    coefficients = np.asarray(dct(np.log(bands), type=2, axis=1, norm="ortho"))[:, :count]
    coefficients *= 1 + (_LIFTER / 2) * np.sin(np.pi * np.arange(count) / _LIFTER)
    coefficients[:, 0] = np.log(energy)
    return coefficients


@lru_cache(maxsize=1)
def _bank() -> NDArray[np.float64]:
    """Triangles on whole FFT bins, `[26, 257]`."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLING_RATE / 2 / 700), _BANDS + 2)
    bins = np.floor((_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLING_RATE)
    bank = np.zeros((_BANDS, _FFT // 2 + 1))
    for band in range(_BANDS):
        low, middle, high = (int(value) for value in bins[band : band + 3])
        bank[band, low:middle] = (np.arange(low, middle) - low) / max(middle - low, 1)
        bank[band, middle:high] = (high - np.arange(middle, high)) / max(high - middle, 1)
    return bank
