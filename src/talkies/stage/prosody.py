"""How a voice rises, falls and stresses: what head, brows and jaw follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.media.resampling import SAMPLING_RATE
from talkies.stage.curves import GRID_RATE, smooth

_RATE = 100  # Hz at which pitch and energy are measured
_HOP = SAMPLING_RATE // _RATE
_WINDOW = 640  # samples, 40 ms: two periods of the lowest voice
_LOWEST, _HIGHEST = 70.0, 400.0  # Hz


@dataclass(frozen=True)
class Prosody:
    """Curves on the grid of `GRID_RATE`.

    Attributes:
        loudness: `[n]` in [0, 1], over the clip's upper 30 dB.
        melody: `[n]` pitch in standard deviations from the clip's mean, 0 where unvoiced, within [-2, 2].
        accents: `[n]` in [0, 1], peaks on stressed syllables.
    """

    loudness: NDArray[np.float64]
    melody: NDArray[np.float64]
    accents: NDArray[np.float64]

    @classmethod
    def silent(cls, count: int) -> Prosody:
        """Nothing is said."""
        return cls(np.zeros(count), np.zeros(count), np.zeros(count))


def measure_prosody(waveform: NDArray[np.float32], count: int) -> Prosody:
    """Prosody of `waveform` `[samples]` at 16 kHz over the first `count` grid points.

    Pitch by autocorrelation (Wiener-Khinchin) on 40 ms windows; an accent is where loudness and pitch together stand
    out from the surrounding half second.
    """
    padded = np.pad(waveform.astype(np.float64), (_WINDOW // 2, _WINDOW))
    steps = max(1, len(waveform) // _HOP)
    windows = padded[np.arange(steps)[:, None] * _HOP + np.arange(_WINDOW)] * np.hanning(_WINDOW)  # [steps, 640]
    power = (windows**2).mean(axis=1)
    level = 10 * np.log10(power + 1e-10)
    top = np.quantile(level, 0.95) if power.max() > 1e-9 else 0.0
    loudness = smooth(np.clip((level - top + 30) / 30, 0, 1), 0.03, _RATE)
    spectrum = np.abs(np.fft.rfft(windows, 2 * _WINDOW)) ** 2
    correlation = np.fft.irfft(spectrum)[:, :_WINDOW]  # [steps, 640]
    shortest, longest = int(SAMPLING_RATE / _HIGHEST), int(SAMPLING_RATE / _LOWEST)
    lag = shortest + np.argmax(correlation[:, shortest:longest], axis=1)
    strength = correlation[np.arange(steps), lag] / np.maximum(correlation[:, 0], 1e-12)
    voiced = (strength > 0.4) & (level > top - 25)
    melody = np.zeros(steps)
    if voiced.sum() > 5:
        raw = np.pad(np.log2(SAMPLING_RATE / lag), 2, mode="edge")
        tone = np.median(np.lib.stride_tricks.sliding_window_view(raw, 5), axis=1)
        centred = (tone - np.median(tone[voiced])) / max(float(np.std(tone[voiced])), 0.05)
        melody = np.where(voiced, np.clip(centred, -2, 2), 0.0)
    prominence = loudness + 0.25 * smooth(melody, 0.04, _RATE)
    rise = smooth(prominence, 0.05, _RATE) - smooth(prominence, 0.25, _RATE)
    accents = np.clip(rise / max(float(np.quantile(rise, 0.97)), 0.05), 0, 1) ** 2 * (loudness > 0.2)
    at = np.arange(count) / GRID_RATE * _RATE

    def on_grid(curve: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(at, np.arange(steps), curve, right=0.0))

    return Prosody(on_grid(loudness), on_grid(melody), on_grid(accents))
