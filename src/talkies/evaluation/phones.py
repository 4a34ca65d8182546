"""A lip opening from phones: what to compare real speech with, where an aligner says which sound is when.

Coarse on purpose: one openness per phone (ARPAbet), each held for its own time and smoothed as lips move. Only its
shape over time has a meaning, so correlations do, and amplitudes do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.media.staging import staged

Phone = tuple[str, float, float]

#: Gap between the lips, 0 closed to 1 as in an open "ah"; stress digits are ignored.
OPENNESS: dict[str, float] = {
    "SIL": 0.0, "SP": 0.0, "P": 0.0, "B": 0.0, "M": 0.0, "F": 0.1, "V": 0.1,
    "AA": 1.0, "AE": 0.95, "AH": 0.65, "AO": 0.8, "AW": 0.85, "AY": 0.9, "EH": 0.75, "ER": 0.45, "EY": 0.6,
    "IH": 0.5, "IY": 0.4, "OW": 0.55, "OY": 0.6, "UH": 0.4, "UW": 0.2, "W": 0.15, "R": 0.3, "Y": 0.35, "L": 0.45,
    "HH": 0.5, "K": 0.4, "G": 0.4, "NG": 0.4, "N": 0.3, "T": 0.3, "D": 0.3, "TH": 0.35, "DH": 0.35,
    "S": 0.25, "Z": 0.25, "SH": 0.25, "ZH": 0.25, "CH": 0.25, "JH": 0.25,
}  # fmt: skip
_GRID = 200  # steps per second
_SMOOTHING = 0.03  # s, standard deviation


def phone_opening(phones: Sequence[Phone], frames: int) -> NDArray[np.float32]:
    """Openness over time.

    Args:
        phones: Label, start and end in seconds; between and after them lips are closed.
        frames: How many, at 25 per second.

    Returns:
        `[frames]` in 0..1.

    Raises:
        InputError: An unknown phone.
    """
    from scipy.ndimage import gaussian_filter1d

    times = (np.arange(frames * _GRID // FPS) + 0.5) / _GRID
    value = np.zeros(len(times))
    for label, start, end in phones:
        name = label.upper().rstrip("012")
        if name not in OPENNESS:
            raise InputError(f"{label!r} is no phone.", f"Known: {' '.join(OPENNESS)}.")
        value[(times >= start) & (times < end)] = OPENNESS[name]
    smooth = gaussian_filter1d(value, _SMOOTHING * _GRID, mode="constant")
    return smooth.reshape(frames, -1).mean(1).astype(np.float32)


def read_phones(path: Path) -> tuple[Phone, ...]:
    """Phones of a label file: start, end and label per line, separated by blanks or tabs (Audacity, WaveSurfer).

    Raises:
        InputError: It is no such file.
    """
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        phones = tuple((label, float(start), float(end)) for start, end, label in rows)
    except (OSError, ValueError):
        phones = ()
    if not phones or any(end < start or not np.isfinite(start + end) for _, start, end in phones):
        raise InputError(f"{path} holds no phones.", "Write start, end (seconds) and label, one phone per line.")
    return phones


def write_phones(path: Path, phones: Sequence[Phone]) -> None:
    """Write a label file that `read_phones` reads, whole or not at all."""
    lines = [f"{start:.3f}\t{end:.3f}\t{label}\n" for label, start, end in phones]
    with staged(path) as scratch:
        scratch.write_text("".join(lines), encoding="utf-8")
