"""Other speakers out of one: the resonances of a voice moved up or down, as those of a shorter or longer throat are.

Vocal tract length perturbation (Jaitly and Hinton 2013) on the waveform itself: what is heard keeps its time, pitch and
loudness, and belongs to somebody else. A network that is to hear speech of any voice learns from it what few voices in
the data cannot teach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError

_WINDOW, _HOP = 512, 128  # samples at 16 kHz
_QUEFRENCIES = 36  # of the cepstrum, that describe resonances: below the period of a voice of 440 Hz
_LOUDEST = 4.0  # natural logarithm of the most that a resonance is raised by


def move_formants(waveform: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """`waveform [n]` at 16 kHz with every resonance at `factor` times its frequency; `[n]`, with no delay.

    Args:
        waveform: One finite channel.
        factor: In [0.5, 2]: above 1 for shorter throats; people differ by about a quarter.

    Raises:
        InputError: The factor is out of its range.
    """
    if not 0.5 <= factor <= 2:
        raise InputError(f"Resonances cannot be moved by {factor}.", "Give a factor from 0.5 to 2.")
    if factor == 1 or not waveform.any():
        return waveform.astype(np.float32)
    padded = np.pad(waveform.astype(np.float64), (_WINDOW, _WINDOW + -len(waveform) % _HOP))
    window = np.hanning(_WINDOW + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * window  # [k, window]
    spectrum = np.fft.rfft(frames, axis=1)
    level = np.log(np.abs(spectrum) + 1e-5)
    cepstrum = np.fft.irfft(level, axis=1)
    cepstrum[:, _QUEFRENCIES : -_QUEFRENCIES + 1] = 0
    envelope = np.fft.rfft(cepstrum, axis=1).real
    places = np.minimum(np.arange(envelope.shape[1]) / factor, envelope.shape[1] - 1)
    below = np.minimum(places.astype(int), envelope.shape[1] - 2)
    share = places - below
    moved = envelope[:, below] * (1 - share) + envelope[:, below + 1] * share
    frames = np.fft.irfft(spectrum * np.exp(np.clip(moved - envelope, -_LOUDEST, _LOUDEST)), axis=1) * window
    out, weight = np.zeros(len(padded)), np.zeros(len(padded))
    for k, frame in enumerate(frames):
        out[k * _HOP : k * _HOP + _WINDOW] += frame
        weight[k * _HOP : k * _HOP + _WINDOW] += window**2
    return np.asarray((out / np.maximum(weight, 1e-3))[_WINDOW : _WINDOW + len(waveform)], np.float32)


def other_throat(rng: np.random.Generator) -> float:
    """A factor for `move_formants`, within what people differ by."""
    return float(np.exp(rng.uniform(-0.2, 0.2)))
