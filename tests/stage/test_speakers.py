"""Speakers can be told apart by timbre and pitch: a sentence of each is recognised among all of them."""

from __future__ import annotations

import numpy as np
import pytest

from talkies.stage.texts import sample_text
from talkies.stage.voices import available_voices, render

pytestmark = pytest.mark.slow
BANDS, SENTENCES = 40, 4


def mel_filters() -> np.ndarray:
    mel = np.linspace(*(2595 * np.log10(1 + np.array([60.0, 7600.0]) / 700)), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.arange(257) * 16000 / 512
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall))  # [bands, 257]


def portrait(sound: np.ndarray) -> np.ndarray:
    """Mean and spread of the cepstrum and of the pitch."""
    count = (len(sound) - 640) // 160
    frames = sound[np.arange(count)[:, None] * 160 + np.arange(640)]
    power = (frames**2).mean(axis=1)
    frames = frames[power > power.max() * 1e-3] * np.hanning(640)
    bands = np.log(np.abs(np.fft.rfft(frames[:, :512])) ** 2 @ mel_filters().T + 1e-8)
    cosine = np.cos(np.pi / BANDS * (np.arange(BANDS)[:, None] + 0.5) * np.arange(1, 25))
    cepstrum = bands @ cosine
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 1280)) ** 2)[:, :640]
    lag = 40 + correlation[:, 40:230].argmax(axis=1)
    voiced = correlation[np.arange(len(lag)), lag] > 0.5 * correlation[:, 0]
    pitch = np.log2(16000 / lag[voiced])
    return np.concatenate([cepstrum.mean(0), cepstrum.std(0), [8 * np.median(pitch), 4 * pitch.std()]])


@pytest.mark.timeout(1800)
def test_a_sentence_is_recognised_among_all_installed_speakers() -> None:
    """flite's and espeak-ng's; Kokoro's take minutes each and were all told apart when measured once."""
    installed = (*available_voices("train"), *available_voices("test"))
    voices = [voice for voice in installed if voice.engine != "kokoro"]
    if len(voices) < 100:
        pytest.skip("Debian's flite and espeak-ng are not both installed")
    rng = np.random.default_rng(0)
    found = np.array([[portrait(render(sample_text(rng, "train", 2), v)) for _ in range(SENTENCES)] for v in voices])
    spread = (found - found.mean(axis=1, keepdims=True)).reshape(-1, found.shape[-1])  # [voices * sentences, features]
    whiten = np.linalg.cholesky(np.linalg.inv(np.cov(spread.T) + 1e-3 * np.eye(spread.shape[1])))
    known = found[:, 1:].mean(axis=1) @ whiten
    asked = found[:, 0] @ whiten
    distance = ((asked[:, None] - known[None]) ** 2).sum(axis=-1)  # [asked, known]
    assert (distance.argmin(axis=1) == np.arange(len(voices))).mean() > 0.88
