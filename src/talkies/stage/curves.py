"""Curves over time that motion is made of, on a grid of 200 samples a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Samples per second of the fine grid; sample `i` is at `i / GRID_RATE` seconds.
GRID_RATE = 200

Curve = NDArray[np.float64]


def grid_length(duration: float) -> int:
    """Samples of the grid that cover `duration` seconds, both ends included."""
    return int(np.ceil(duration * GRID_RATE - 1e-6)) + 1


def smooth(values: Curve, seconds: float, rate: float = GRID_RATE) -> Curve:
    """Gaussian filter with a standard deviation of `seconds` along the first axis of `[n, ...]`; ends are held."""
    sigma = seconds * rate
    reach = max(1, round(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)  # [n, ..., taps]
    return np.asarray(windows @ (kernel / kernel.sum()))


def smooth_noise(rng: np.random.Generator, count: int, seconds: float) -> Curve:
    """Unit-variance noise that changes over about `seconds`, `[count]`."""
    sigma = seconds * GRID_RATE
    # Drawn coarsely and interpolated: a filter as wide as this on the grid costs more than all the rest.
    step = max(1, int(sigma / 4))
    coarse = rng.standard_normal(count // step + 48)
    kernel = np.exp(-0.5 * (np.arange(-16, 17) / (sigma / step)) ** 2)
    values = np.convolve(coarse, kernel / np.sqrt((kernel**2).sum()), "same")[8:-8]
    return np.interp(np.arange(count) / step, np.arange(len(values)), values)


def bump(times: Curve, start: float, rise: float, hold: float, fall: float) -> Curve:
    """0, then a smooth rise from `start` over `rise` s, 1 for `hold` s, and a smooth fall over `fall` s."""
    up = np.clip((times - start) / rise, 0, 1)
    down = np.clip((start + rise + hold + fall - times) / fall, 0, 1)
    ease = np.minimum(up, down)
    return np.asarray(ease * ease * (3 - 2 * ease))
