"""The catalogue of speakers: who exists, how each sounds, and which are kept for testing.

Speakers differ in engine, speaker model (or a blend of Kokoro's), pitch and vocal tract length. A longer or shorter
tract is made by speaking slower or faster and lower or higher, then resampling, so that only the formants move.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError, MissingDependencyError
from talkies.media.resampling import resample
from talkies.stage import engines
from talkies.stage.texts import Split

Engine = Literal["flite", "espeak-ng", "kokoro"]
Register = Literal["low", "high"]

#: Mean power of speech after loudness normalisation (active parts), and the highest peak left.
_ACTIVE_RMS = 0.08
_PEAK = 0.95


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        id: Unique name, stable between versions.
        engine: Which synthesiser speaks.
        blend: Speaker models of the engine with weights (one, except for Kokoro's mixtures).
        pitch: flite: mean in Hz, 0 for its voice `rms`, which keeps its own; espeak-ng: its setting 0-99; Kokoro: 0
            (the speaker model decides).
        tract: Formant factor: > 1 a shorter vocal tract (smaller person), 0.85 to 1.2.
        register: `low` as most men speak, `high` as most women do.
        split: The set it may appear in.
    """

    id: str
    engine: Engine
    blend: tuple[tuple[str, float], ...]
    pitch: float
    tract: float
    register: Register
    split: Split


@functools.cache
def catalogue() -> tuple[Voice, ...]:
    """Every speaker known, whether or not its engine is installed."""
    return (*_flite_voices(), *_espeak_voices(), *_kokoro_voices())


def available_voices(split: Split, engine: Engine | None = None) -> tuple[Voice, ...]:
    """The speakers of a set that can speak on this machine, in catalogue order.

    Raises:
        MissingDependencyError: There is none.
    """
    found = tuple(v for v in catalogue() if v.split == split and engine in (None, v.engine) and _can_speak(v))
    if not found:
        raise MissingDependencyError(
            "no speech engine is installed.", hint="pip install 'talkies[stage]', or Debian's flite or espeak-ng."
        )
    return found


def available_engines() -> tuple[Engine, ...]:
    """The engines installed here."""
    checks: tuple[tuple[Engine, bool], ...] = (
        ("flite", engines.flite_available()),
        ("espeak-ng", bool(engines.espeak_variants())),
        ("kokoro", engines.kokoro_available()),
    )
    return tuple(name for name, present in checks if present)


def find_voice(voice_id: str) -> Voice:
    """The speaker of that name.

    Raises:
        InputError: There is none.
    """
    for voice in catalogue():
        if voice.id == voice_id:
            return voice
    raise InputError(f"no voice {voice_id!r}", hint="Names are listed by talkies.stage.voices.catalogue().")


def render(text: str, voice: Voice, stretch: float = 1.0) -> NDArray[np.float32]:
    """Let `voice` say `text`, `stretch` times as slowly as it would: `[n]` at 16 kHz, loudness normalised.

    Raises:
        InputError: The engine cannot say it.
    """
    slower = stretch * voice.tract
    name = voice.blend[0][0]
    if voice.engine == "flite":
        waveform, rate = engines.flite(text, name, (voice.pitch or 106.0) / voice.tract, slower)
    elif voice.engine == "espeak-ng":
        waveform, rate = engines.espeak(text, name, voice.pitch, slower)
    else:
        waveform, rate = engines.kokoro(text, voice.blend, slower)
    return _normalise(resample(waveform, rate * voice.tract))


def _normalise(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Equal loudness of the parts within 30 dB of the loudest 20 ms; peaks below 0.95."""
    blocks = waveform[: len(waveform) // 320 * 320].reshape(-1, 320)
    power = (blocks.astype(np.float64) ** 2).mean(axis=1)
    if not len(power) or power.max() <= 0:
        raise InputError("the speech engine returned silence", hint="Choose another text or voice.")
    active = np.sqrt(power[power > power.max() * 1e-3].mean())
    return np.asarray(waveform * min(_ACTIVE_RMS / active, _PEAK / np.abs(waveform).max()), np.float32)


def _can_speak(voice: Voice) -> bool:
    if voice.engine == "flite":
        return engines.flite_available()
    if voice.engine == "espeak-ng":
        return voice.blend[0][0].split("+")[1] in engines.espeak_variants()
    return engines.kokoro_available()


def _split(cell: str) -> Split:
    """About every sixth cell of related speakers is for testing; a hash, so that new speakers move nobody."""
    return "test" if hashlib.sha256(cell.encode()).digest()[0] % 6 == 0 else "train"


def _flite_voices() -> list[Voice]:
    voices = []

    def add(base: str, tract: float, pitch: float, register: Register) -> None:
        cell = f"flite-{base}-t{round(100 * tract)}"
        voices.append(Voice(f"{cell}-p{pitch:.0f}", "flite", ((base, 1.0),), pitch, tract, register, _split(cell)))

    for base in ("kal16", "awb", "slt"):
        for tract in (0.9, 0.97, 1.05, 1.15):
            man = base != "slt" and tract < 1.1
            for pitch in (88, 108, 132) if man else (168, 196, 228):
                add(base, tract, pitch, "low" if man else "high")
    for tract in (0.83, 0.9, 0.97, 1.05, 1.13, 1.2):  # its pitch moves with the tract: 88 to 127 Hz
        add("rms", tract, 0, "low")
    return voices


#: espeak-ng's variants that differ from one another and are not effects; those that speak as women come second.
_ESPEAK_LOW = (
    "Alex", "Andy", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Mario", "Michael", "Mike",
    "Nguyen", "adam", "antonio", "benjamin", "david", "ed", "edward", "gustave", "john", "m1", "m2", "m3", "m4", "m5",
    "m6", "m7", "m8", "marcelo", "max", "miguel", "pablo", "paul", "pedro", "rob", "travis", "victor",
)  # fmt: skip
_ESPEAK_HIGH = (
    "Andrea", "Annie", "anika", "aunty", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma", "linda", "quincy", "steph",
)  # fmt: skip


def _espeak_voices() -> list[Voice]:
    variants: list[tuple[str, Register]] = [(v, "low") for v in _ESPEAK_LOW] + [(v, "high") for v in _ESPEAK_HIGH]
    voices = []
    for variant, register in variants:
        tracts = (1.0,) if register == "low" else (0.94, 1.06)
        for pitch, tract in itertools.product((36, 58), tracts):
            name = f"espeak-{variant}-t{round(100 * tract)}-p{pitch}"
            split = _split(f"espeak-{variant}")
            voices.append(Voice(name, "espeak-ng", ((f"en-us+{variant}", 1.0),), pitch, tract, register, split))
    return voices


_KOKORO_WOMEN = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro")
_KOKORO_MAN = "jm_kumo"


def _kokoro_voices() -> list[Voice]:
    blends: list[tuple[tuple[str, float], ...]] = [((name, 1.0),) for name in (*_KOKORO_WOMEN, _KOKORO_MAN)]
    for first, second in itertools.combinations(_KOKORO_WOMEN, 2):
        blends += [((first, 0.65), (second, 0.35)), ((first, 0.35), (second, 0.65))]
    for woman in _KOKORO_WOMEN:
        blends += [((_KOKORO_MAN, man), (woman, round(1 - man, 2))) for man in (1.3, 0.8, 0.6, 0.35)]
    voices = []
    for blend in blends:
        man = sum(weight for name, weight in blend if name == _KOKORO_MAN) >= 0.6
        register: Register = "low" if man else "high"
        label = "-".join(f"{name.split('_')[1][:4]}{round(100 * weight)}" for name, weight in blend)
        for tract in (0.92, 1.0, 1.08) if man else (0.86, 0.93, 1.0):
            name = f"kokoro-{label}-t{round(100 * tract)}"
            voices.append(Voice(name, "kokoro", blend, 0.0, tract, register, _split(f"kokoro-{label}")))
    return voices
