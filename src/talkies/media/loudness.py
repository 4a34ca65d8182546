"""Integrated loudness (ITU-R BS.1770-4) of a signal that arrives in blocks, in constant memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: BS.1770: blocks of 400 ms, a new one every 100 ms; silence below -70 LUFS and 10 LU below the mean does not count.
_HOP_SECONDS = 0.1
_HOPS_PER_BLOCK = 4
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0

#: No recording is made louder than this, in dB: it would only raise noise (the authors give up beyond 100 LU).
MAX_GAIN_DB = 60.0


class LoudnessMeter:
    """Measures mono sound; the same number as `pyloudnorm.Meter(rate).integrated_loudness` of the whole signal.

    Args:
        rate: Sampling rate in Hz, a multiple of 10.
    """

    def __init__(self, rate: int) -> None:
        import pyloudnorm

        self._hop = round(rate * _HOP_SECONDS)
        filters = pyloudnorm.Meter(rate)._filters.values()
        self._filters = [(f.b, f.a, f.passband_gain) for f in filters]
        self._states = [np.zeros(max(len(b), len(a)) - 1) for b, a, _ in self._filters]
        self._rest: NDArray[np.float64] = np.zeros(0)
        self._energies: list[float] = []
        self._count = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Takes the next samples, `[n]`, full scale at 1.0."""
        from scipy.signal import lfilter

        weighted = samples.astype(np.float64)
        for index, (b, a, gain) in enumerate(self._filters):
            weighted, self._states[index] = lfilter(b, a, weighted, zi=self._states[index])
            weighted = weighted * gain
        self._count += len(weighted)
        weighted = np.concatenate([self._rest, weighted])
        whole = len(weighted) // self._hop
        hops = weighted[: whole * self._hop].reshape(whole, self._hop)
        self._energies += np.square(hops).sum(axis=1).tolist()
        self._rest = weighted[whole * self._hop :]

    def integrated(self) -> float:
        """Loudness of all so far in LUFS; -inf for silence. Shorter than a block: of all of it, without gates."""
        if self._count < self._hop * _HOPS_PER_BLOCK:
            energy = sum(self._energies) + float(np.square(self._rest).sum())
            return _lufs(energy / max(self._count, 1))
        blocks = self._count / self._hop - _HOPS_PER_BLOCK
        # pyloudnorm rounds the number of blocks (half to even), so the last one may reach past the end.
        count = round(blocks) + 1
        energies = np.array([*self._energies, float(np.square(self._rest).sum()), 0.0, 0.0, 0.0])
        sums = np.lib.stride_tricks.sliding_window_view(energies, _HOPS_PER_BLOCK).sum(axis=1)[:count]
        mean = sums / (self._hop * _HOPS_PER_BLOCK)
        loud = mean[np.array([_lufs(value) for value in mean]) >= _ABSOLUTE_GATE]
        if not len(loud):
            return -math.inf
        gate = _lufs(float(loud.mean())) + _RELATIVE_GATE
        kept = [value for value in loud if _lufs(value) > gate and _lufs(value) > _ABSOLUTE_GATE]
        return _lufs(float(np.mean(kept))) if kept else -math.inf


def _lufs(energy: float) -> float:
    return -0.691 + 10.0 * math.log10(energy) if energy > 0 else -math.inf


def gain_to(target: float, lufs: float) -> float:
    """Factor that brings a signal of loudness `lufs` to `target` LUFS; 1 for silence, at most +60 dB."""
    if not math.isfinite(lufs):
        return 1.0
    return float(10.0 ** (min(target - lufs, MAX_GAIN_DB) / 20.0))
