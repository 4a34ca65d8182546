"""What a voice says about the lips: how far they should be open at each moment, heard from the sound alone.

A linear filter over the log-mel spectrum of +-5 frames, fitted by ridge regression to the stage's exact lip openings
(`fit`, `talkies evaluate fit-speech`). It was never shown a generated video, so it cannot favour a model; it knows
the stage's way of articulating best, and real speakers less well (`docs/evaluation.md`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE

Array = NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("speech_opening.safetensors")
SAMPLES_PER_FRAME = SAMPLING_RATE // FPS
BANDS = 26
#: Frames of context to either side.
CONTEXT = 5
_WINDOW, _HOP, _FFT = 400, 160, 512
STEPS_PER_FRAME = SAMPLES_PER_FRAME // _HOP
_FLOOR = 1e-5
#: What a loud moment of the voice is scaled to, so that recordings of any level compare.
_LEVEL = 0.1


def expected_opening(waveform: NDArray[np.floating], frames: int) -> Array:
    """How far the lips should be open.

    Args:
        waveform: `[n]` at 16 kHz, from the first frame on; cut or padded with silence.
        frames: How many, at 25 per second.

    Returns:
        `[frames]` in eye distances, at least 0; all 0 where nothing is heard.
    """
    if float(np.abs(waveform).max(initial=0.0)) < 1e-4:
        return np.zeros(frames, np.float32)
    return _filtered(waveform, frames, _weights())


def _filtered(waveform: NDArray[np.floating], frames: int, weights: dict[str, Array]) -> Array:
    opening = _context(log_mel(waveform, frames)) @ weights["weight"] + weights["bias"][0]
    return np.maximum(opening, 0).astype(np.float32)


def log_mel(waveform: NDArray[np.floating], frames: int) -> Array:
    """Log-mel energies of each frame's 40 ms, `[frames, BANDS]`, at a common loudness."""
    energy = _mel_energy(waveform, frames, BANDS)
    return np.log(energy.reshape(frames, STEPS_PER_FRAME, BANDS).mean(1) + _FLOOR).astype(np.float32)


def log_mel_steps(waveform: NDArray[np.floating], frames: int, bands: int) -> Array:
    """Log-mel energies every 10 ms, `[4 * frames, bands]`, at a common loudness; arguments as `expected_opening`'s."""
    return np.log(_mel_energy(waveform, frames, bands) + _FLOOR).astype(np.float32)


def _mel_energy(waveform: NDArray[np.floating], frames: int, bands: int) -> NDArray[np.float64]:
    """`[4 * frames, bands]`."""
    length = frames * SAMPLES_PER_FRAME
    sound = np.zeros(length + _WINDOW, np.float32)
    given = np.asarray(waveform[:length], np.float32)
    half = (_WINDOW - _HOP) // 2
    sound[half : half + len(given)] = given
    blocks = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP][: frames * STEPS_PER_FRAME]
    loud = np.sqrt(np.percentile(np.square(blocks).mean(1), 95))
    spectrum = np.abs(np.fft.rfft(blocks * np.hanning(_WINDOW), _FFT)) * (_LEVEL / max(float(loud), 1e-5))
    return np.asarray(np.square(spectrum) @ _mel_bank(bands).T / _WINDOW)


def voiced(waveform: NDArray[np.floating], frames: int, threshold: float = 0.06) -> NDArray[np.bool_]:
    """Frames in which somebody is heard, `[frames]`: louder than a share of the loud moments."""
    length = frames * SAMPLES_PER_FRAME
    sound = np.zeros(length, np.float32)
    sound[: min(length, len(waveform))] = waveform[:length]
    level = np.sqrt(np.square(sound.reshape(frames, -1)).mean(1))
    return np.asarray(level > max(threshold * float(np.percentile(level, 98)), 1e-4))


def fit(examples: list[tuple[NDArray[np.floating], Array]], ridge: float = 100.0) -> dict[str, Array]:
    """The filter's weights.

    Args:
        examples: Waveform `[F * 640]` at 16 kHz and the true opening `[F]` in eye distances, of talking people.
        ridge: Strength of the penalty on the weights of standardised inputs.

    Raises:
        InputError: No examples.
    """
    if not examples:
        raise InputError("There is nothing to fit.", "Give a folder of talking people: talkies stage tracks.")
    inputs = np.concatenate([_context(log_mel(sound, len(opening))) for sound, opening in examples]).astype(np.float64)
    targets = np.concatenate([opening for _, opening in examples]).astype(np.float64)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    scaled = (inputs - mean) / spread
    gram = scaled.T @ scaled + ridge * np.eye(scaled.shape[1])
    weight = np.linalg.solve(gram, scaled.T @ (targets - targets.mean())) / spread
    bias = targets.mean() - mean @ weight
    return {"weight": weight.astype(np.float32), "bias": np.array([bias], np.float32)}


def read_tracks(folder: Path, limit: int = 4000) -> list[tuple[NDArray[np.floating], Array]]:
    """Examples for `fit` from a folder of `talkies stage tracks`; silent takes are left out."""
    from talkies.evaluation.mouth import true_mouth

    examples = []
    for path in sorted(folder.glob("*.npz"))[:limit]:
        with np.load(path, allow_pickle=False) as labels:
            if len(labels["phone_labels"]):
                mouth = true_mouth(labels["lip_opening"], labels["lip_width"], labels["points"])
                examples.append((labels["waveform"].astype(np.float32) / 32767, mouth.opening))
    return examples


def judge(weights: dict[str, Array], examples: list[tuple[NDArray[np.floating], Array]]) -> dict[str, float]:
    """How well weights do on other people's voices: correlation with the true openings, with other clips' openings,
    share found in step, and share of pairs in which a voice fits its own lips better than another clip's.

    Raises:
        InputError: Fewer than two examples.
    """
    from talkies.evaluation.curves import align

    if len(examples) < 2:
        raise InputError("There is nothing to judge by.", "Give a folder of talking people: talkies stage tracks.")
    heard = [_filtered(sound, len(opening), weights) for sound, opening in examples]
    scores = np.array([[align(lips, own).near() for own in heard] for _, lips in examples])  # [lips, voice]
    steps = [align(lips, own).offset for (_, lips), own in zip(examples, heard, strict=True)]
    apart = ~np.eye(len(scores), dtype=bool)
    return {
        "examples": float(len(examples)),
        "r": float(np.mean([np.corrcoef(lips, own)[0, 1] for (_, lips), own in zip(examples, heard, strict=True)])),
        "r with other voices": float(scores[apart].mean()),
        "within one frame": float(np.mean(np.abs(steps) <= 1)),
        "own voice preferred": float((np.diag(scores)[:, None] > scores)[apart].mean()),
    }


def save_filter(weights: dict[str, Array], path: Path) -> None:
    """Writes weights as safetensors."""
    from safetensors.numpy import save_file

    from talkies.media.staging import staged

    with staged(path) as scratch:
        save_file(weights, scratch)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Array]:
    from safetensors.numpy import load_file

    return dict(load_file(WEIGHTS))


def _context(mel: Array) -> Array:
    """`[F, BANDS]` -> `[F, (2 CONTEXT + 1) * BANDS]`, ends repeated."""
    padded = np.pad(mel, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    return np.concatenate([padded[k : k + len(mel)] for k in range(2 * CONTEXT + 1)], axis=1)


@lru_cache(maxsize=4)
def _mel_bank(bands: int) -> NDArray[np.float64]:
    """Triangles evenly spaced in mel from 60 Hz to 7600 Hz, `[bands, FFT / 2 + 1]`."""
    edges = np.linspace(_mel(60.0), _mel(7600.0), bands + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / SAMPLING_RATE)
    rise = (bins - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    fall = (hertz[2:, None] - bins) / (hertz[2:] - hertz[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None)


def _mel(hertz: float) -> float:
    return 2595 * float(np.log10(1 + hertz / 700))
