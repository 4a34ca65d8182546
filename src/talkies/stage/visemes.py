"""Phones to mouth shapes in time: targets per phone, overlapping dominance, and closures that really close.

Targets are in ARKit units, after the usual tables that tie visemes to ARKit shapes (the 15 visemes of Oculus and the 22
of Azure Speech, both on FACS), scaled to calm talk: an open "ah" moves the jaw 0.4 of its range. In time, each
phone pulls every group of units towards its target with a dominance that reaches into its neighbours (Cohen and
Massaro 1993); a shape is the dominance-weighted mean. Lip rounding reaches furthest ahead. Bilabials (p, b, m) and
labiodentals (f, v) are not left to the mean: they are constraints with a plateau over the phone's centre (as in JALI,
Edwards et al. 2016), long enough that a video frame always falls on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS, sides_of
from talkies.stage.alignment import SILENCE, Phone
from talkies.stage.curves import GRID_RATE, grid_length, smooth

BILABIAL = frozenset({"P", "B", "M"})
LABIODENTAL = frozenset({"F", "V"})
VOWELS = frozenset({"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"})

_Group = Literal["jaw", "round", "spread", "aperture"]
_GROUPS: tuple[_Group, ...] = ("jaw", "round", "spread", "aperture")

#: The units that targets speak of; a trailing * stands for the left and the right one.
_CHANNELS: tuple[tuple[str, _Group], ...] = (
    ("jawOpen", "jaw"),
    ("mouthPucker", "round"),
    ("mouthFunnel", "round"),
    ("mouthStretch*", "spread"),
    ("mouthSmile*", "spread"),
    ("mouthLowerDown*", "aperture"),
    ("mouthUpperUp*", "aperture"),
)
_JAW, _PUCKER, _FUNNEL, _STRETCH, _SMILE, _LOWER, _UPPER = range(len(_CHANNELS))


@dataclass(frozen=True)
class Viseme:
    """A mouth target.

    Attributes:
        shape: Targets of `_CHANNELS`: jaw, pucker, funnel, stretch, smile, lower lip down, upper lip up.
        dominance: How strongly it insists on jaw, rounding, spreading and aperture (1: like a vowel).
    """

    shape: tuple[float, float, float, float, float, float, float]
    dominance: tuple[float, float, float, float]


_VOWEL = (1.0, 1.0, 1.0, 1.0)
_ALVEOLAR = (0.7, 0.15, 0.4, 0.7)

VISEMES: dict[str, Viseme] = {
    SILENCE: Viseme((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.8, 0.5, 0.5, 0.8)),
    # vowels                jaw   pucker funnel stretch smile lower upper
    "AA": Viseme((0.42, 0.00, 0.04, 0.00, 0.00, 0.20, 0.09), _VOWEL),
    "AE": Viseme((0.36, 0.00, 0.00, 0.22, 0.04, 0.28, 0.17), _VOWEL),
    "AH": Viseme((0.26, 0.00, 0.02, 0.04, 0.00, 0.19, 0.08), (0.8, 0.6, 0.6, 0.8)),
    "AO": Viseme((0.33, 0.20, 0.34, 0.00, 0.00, 0.10, 0.05), (1.0, 1.3, 1.0, 1.0)),
    "EH": Viseme((0.27, 0.00, 0.00, 0.20, 0.04, 0.26, 0.14), _VOWEL),
    "ER": Viseme((0.17, 0.22, 0.24, 0.00, 0.00, 0.14, 0.06), (0.9, 1.2, 0.8, 0.9)),
    "IH": Viseme((0.17, 0.00, 0.00, 0.20, 0.06, 0.25, 0.14), (0.9, 0.8, 0.8, 0.9)),
    "IY": Viseme((0.10, 0.00, 0.00, 0.34, 0.18, 0.30, 0.18), (1.0, 1.1, 1.3, 1.1)),
    "UH": Viseme((0.17, 0.32, 0.22, 0.00, 0.00, 0.08, 0.03), (0.9, 1.3, 0.9, 0.9)),
    "UW": Viseme((0.10, 0.62, 0.14, 0.00, 0.00, 0.03, 0.02), (1.0, 1.8, 1.2, 1.2)),
    "OH": Viseme((0.28, 0.32, 0.38, 0.00, 0.00, 0.08, 0.04), (1.0, 1.5, 1.1, 1.0)),
    # consonants
    "W": Viseme((0.08, 0.66, 0.12, 0.00, 0.00, 0.00, 0.00), (1.1, 2.0, 1.2, 1.3)),
    "R": Viseme((0.11, 0.28, 0.26, 0.00, 0.00, 0.12, 0.06), (0.7, 1.0, 0.5, 0.7)),
    "Y": Viseme((0.09, 0.00, 0.00, 0.30, 0.14, 0.26, 0.15), (0.9, 0.5, 0.9, 0.9)),
    "L": Viseme((0.17, 0.00, 0.00, 0.06, 0.00, 0.22, 0.10), _ALVEOLAR),
    "N": Viseme((0.10, 0.00, 0.00, 0.08, 0.00, 0.20, 0.09), _ALVEOLAR),
    "T": Viseme((0.08, 0.00, 0.00, 0.10, 0.00, 0.22, 0.11), _ALVEOLAR),
    "D": Viseme((0.09, 0.00, 0.00, 0.10, 0.00, 0.22, 0.10), _ALVEOLAR),
    "S": Viseme((0.04, 0.00, 0.02, 0.22, 0.05, 0.32, 0.18), (2.0, 0.3, 0.8, 1.2)),
    "Z": Viseme((0.04, 0.00, 0.02, 0.20, 0.04, 0.31, 0.17), (2.0, 0.3, 0.8, 1.2)),
    "SH": Viseme((0.05, 0.22, 0.46, 0.00, 0.00, 0.16, 0.10), (2.0, 1.6, 1.0, 1.2)),
    "ZH": Viseme((0.05, 0.22, 0.44, 0.00, 0.00, 0.16, 0.10), (2.0, 1.6, 1.0, 1.2)),
    "CH": Viseme((0.05, 0.22, 0.45, 0.00, 0.00, 0.16, 0.10), (2.0, 1.6, 1.0, 1.2)),
    "JH": Viseme((0.05, 0.22, 0.42, 0.00, 0.00, 0.16, 0.10), (2.0, 1.5, 1.0, 1.2)),
    "TH": Viseme((0.12, 0.00, 0.00, 0.08, 0.00, 0.24, 0.13), (1.1, 0.3, 0.5, 1.0)),
    "DH": Viseme((0.11, 0.00, 0.00, 0.06, 0.00, 0.22, 0.11), (0.9, 0.2, 0.4, 0.8)),
    "K": Viseme((0.15, 0.00, 0.00, 0.04, 0.00, 0.17, 0.08), (0.5, 0.1, 0.2, 0.4)),
    "G": Viseme((0.15, 0.00, 0.00, 0.04, 0.00, 0.17, 0.08), (0.5, 0.1, 0.2, 0.4)),
    "NG": Viseme((0.14, 0.00, 0.00, 0.04, 0.00, 0.17, 0.08), (0.5, 0.1, 0.2, 0.4)),
    "HH": Viseme((0.18, 0.00, 0.00, 0.02, 0.00, 0.16, 0.08), (0.15, 0.05, 0.05, 0.15)),
    "P": Viseme((0.06, 0.02, 0.00, 0.00, 0.00, 0.05, 0.02), (1.2, 0.2, 0.4, 1.0)),
    "B": Viseme((0.06, 0.02, 0.00, 0.00, 0.00, 0.05, 0.02), (1.2, 0.2, 0.4, 1.0)),
    "M": Viseme((0.06, 0.02, 0.00, 0.00, 0.00, 0.05, 0.02), (1.2, 0.2, 0.4, 1.0)),
    "F": Viseme((0.07, 0.00, 0.00, 0.08, 0.00, 0.04, 0.14), (1.2, 0.2, 0.4, 1.0)),
    "V": Viseme((0.07, 0.00, 0.00, 0.06, 0.00, 0.04, 0.13), (1.2, 0.2, 0.4, 1.0)),
}

#: Diphthongs glide: first and second target, and the share of time that the first one has.
_GLIDES: dict[str, tuple[str, str, float]] = {
    "AY": ("AA", "IH", 0.58),
    "AW": ("AA", "UH", 0.55),
    "EY": ("EH", "IY", 0.5),
    "OW": ("OH", "UW", 0.55),
    "OY": ("AO", "IH", 0.55),
}

#: How far dominance reaches before and after a phone, as the standard deviation of its skirts in seconds.
_REACH: dict[_Group, tuple[float, float]] = {
    "jaw": (0.030, 0.034),
    "round": (0.065, 0.040),
    "spread": (0.036, 0.036),
    "aperture": (0.024, 0.028),
}
_EDGE = 0.02  # s that a phone's core keeps from its borders
_RAMP = 0.048  # s that lips take to close or to part
_HALF_FRAME = 0.021  # s; a plateau this far to both sides of a phone's centre holds a 25 fps frame centre


def mouth_shapes(
    phones: Sequence[Phone],
    duration: float,
    loudness: NDArray[np.float64] | None = None,
    strength: float = 1.0,
) -> NDArray[np.float64]:
    """Mouth units over time for gapless `phones` (which may reach beyond the interval on both sides).

    Args:
        phones: In order. Labels: 39 ARPAbet phones and `SIL`.
        duration: Seconds, from 0.
        loudness: `[n]` in [0, 1] on the grid; louder opens the jaw more. None: 0.5 throughout.
        strength: How clearly the speaker articulates, 0.5 to 1.5; closures are complete at any strength.

    Returns:
        `[n, 52]` on the grid of `GRID_RATE`, `n = grid_length(duration)`, columns `FACE_UNITS`; only mouth
        and jaw columns differ from 0.

    Raises:
        InputError: An unknown phone, or a strength out of range.
    """
    if not 0.5 <= strength <= 1.5:
        raise InputError(f"articulation strength {strength} is out of range", hint="Choose 0.5 to 1.5.")
    times = np.arange(grid_length(duration)) / GRID_RATE  # [n]
    near = _surround(phones, duration)
    shapes = smooth(_blend(_glide(near), times), 0.009)  # [n, 7]
    heard = np.full(len(times), 0.5) if loudness is None else loudness
    shapes[:, _JAW] *= strength * (0.7 + 0.6 * heard)
    shapes[:, _PUCKER:] *= 0.4 + 0.6 * strength
    return _constrain(shapes, near, times)


def _surround(phones: Sequence[Phone], duration: float) -> list[Phone]:
    """The phones that matter to the interval, with silence where nothing was given."""
    near = [phone for phone in phones if phone.end > -0.4 and phone.start < duration + 0.4]
    first = near[0].start if near else duration + 1
    last = near[-1].end if near else duration + 1
    before = [Phone(SILENCE, min(first, 0.0) - 1, first)]
    return before + near + ([Phone(SILENCE, last, max(last, duration) + 1)] if near else [])


def seal(phones: Sequence[Phone], times: NDArray[np.float64], labels: frozenset[str]) -> NDArray[np.float64]:
    """How far a constriction is made, 0 to 1, at each of `times` `[n]` seconds.

    It is 1 over the phone's closure (a plosive lets go before its phone ends) and at least 21 ms to both sides of the
    phone's centre, with smooth ramps of at most 48 ms that leave the core of short neighbours alone.
    """
    out = np.zeros(len(times))
    for index, phone in enumerate(phones):
        if phone.label not in labels:
            continue
        length = phone.end - phone.start
        release = 0.22 * length if phone.label in {"P", "B"} else 0.0
        start = min(phone.start + 0.008, phone.centre - _HALF_FRAME)
        end = max(phone.end - release - 0.008, phone.centre + _HALF_FRAME)
        before = phones[index - 1] if index else None
        after = phones[index + 1] if index + 1 < len(phones) else None
        up = _rise(times, start, _ramp_length(before))
        down = _rise(-times, -end, _ramp_length(after))
        out = np.maximum(out, np.minimum(up, down))
    return out


def _ramp_length(neighbour: Phone | None) -> float:
    return _RAMP if neighbour is None else float(np.clip(0.6 * (neighbour.end - neighbour.start), 0.02, _RAMP))


def _rise(times: NDArray[np.float64], full: float, ramp: float) -> NDArray[np.float64]:
    """0 before `full - ramp`, 1 from `full` on, a raised cosine between."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip((times - full + ramp) / ramp, 0, 1)))


def _glide(phones: Sequence[Phone]) -> list[Phone]:
    """Diphthongs split into their two targets."""
    out: list[Phone] = []
    for phone in phones:
        if phone.label in _GLIDES:
            first, second, share = _GLIDES[phone.label]
            middle = phone.start + share * (phone.end - phone.start)
            out += [Phone(first, phone.start, middle), Phone(second, middle, phone.end)]
        elif phone.label in VISEMES:
            out.append(phone)
        else:
            raise InputError(f"unknown phone {phone.label!r}", hint=f"Known: {', '.join(sorted(VISEMES))}.")
    return out


def _blend(phones: Sequence[Phone], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dominance-weighted means of the targets: `[n, channels]`."""
    if not phones:
        return np.zeros((len(times), len(_CHANNELS)))
    visemes = [VISEMES[phone.label] for phone in phones]
    targets = np.array([viseme.shape for viseme in visemes])  # [p, channels]
    insistence = np.array([viseme.dominance for viseme in visemes])  # [p, groups]
    start = np.array([phone.start for phone in phones])
    end = np.array([phone.end for phone in phones])
    edge = np.minimum(_EDGE, 0.25 * (end - start))
    before = np.maximum(start + edge - times[:, None], 0)  # [n, p] seconds until the phone's core
    after = np.maximum(times[:, None] - (end - edge), 0)  # [n, p] seconds since it
    out = np.zeros((len(times), len(_CHANNELS)))
    for number, group in enumerate(_GROUPS):
        ahead, behind = _REACH[group]
        weight = insistence[:, number] * np.exp(-0.5 * ((before / ahead) ** 2 + (after / behind) ** 2)) + 1e-12
        columns = [index for index, (_, name) in enumerate(_CHANNELS) if name == group]
        out[:, columns] = weight @ targets[:, columns] / weight.sum(axis=1, keepdims=True)
    return out


def _constrain(shapes: NDArray[np.float64], phones: Sequence[Phone], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closures over the blended shapes `[n, channels]`, spread to all units `[n, 52]`."""
    lips = seal(phones, times, BILABIAL)
    teeth = seal(phones, times, LABIODENTAL) * (1 - lips)
    jaw = shapes[:, _JAW] * (1 - 0.45 * lips)
    jaw += teeth * (np.minimum(jaw, 0.09) - jaw)
    open_lips = (1 - lips) * (1 - teeth)
    units = np.zeros((len(times), len(FACE_UNITS)))

    def put(name: str, value: NDArray[np.float64]) -> None:
        for unit in sides_of(name):
            units[:, FACE_UNITS.index(unit)] = np.clip(value, 0, 1)

    put("jawOpen", jaw)
    # ARKit's mouthClose undoes the parting that jawOpen causes, so equal values mean closed lips over a lowered jaw.
    put("mouthClose", lips * jaw)
    put("mouthPucker", shapes[:, _PUCKER] * (1 - 0.35 * lips) * (1 - 0.5 * teeth))
    put("mouthFunnel", shapes[:, _FUNNEL] * open_lips)
    put("mouthStretch*", shapes[:, _STRETCH] * (1 - 0.6 * lips))
    put("mouthSmile*", shapes[:, _SMILE])
    put("mouthLowerDown*", shapes[:, _LOWER] * open_lips)
    put("mouthUpperUp*", shapes[:, _UPPER] * (1 - lips) * (1 - teeth) + 0.26 * teeth)
    put("mouthPress*", 0.26 * lips)
    put("mouthRollLower", 0.12 * lips + 0.5 * teeth)
    put("mouthRollUpper", 0.10 * lips)
    put("mouthShrugLower", 0.16 * lips)
    return units
