"""One person's part in a clip from a number: a voice says something (or nothing), and the body goes along.

Speaking is costly, so several clips are cut from one utterance: seeds `6k .. 6k+5` are six windows of utterance `k`,
spread from just before its beginning to just after its end, so speech starts, pauses and stops within clips.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE
from talkies.stage.alignment import AlignmentError, Phone, Word
from talkies.stage.motion import FPS, Role, Style, perform
from talkies.stage.performance import Performance
from talkies.stage.speech import Speech, load_speech, save_speech, synthesize
from talkies.stage.texts import Split, sample_text
from talkies.stage.voices import Engine, Register, Voice, available_engines, available_voices

WINDOWS = 6
_ATTEMPTS = 20
#: Part of the names of kept utterances: raise it when voices, texts or alignment change.
_CATALOGUE = 3
#: How often each engine speaks, relative to the others present; Kokoro sounds best and costs most.
_SHARES: dict[Engine, float] = {"flite": 1.0, "espeak-ng": 1.0, "kokoro": 0.5}
ENGINES = tuple(_SHARES)


@dataclass(frozen=True)
class Track:
    """What one person does and says in a clip.

    Attributes:
        performance: `F` frames of motion at 25 fps.
        waveform: `[F * 640]` float32 at 16 kHz, zeros when nothing is said.
        phones: Times in seconds of the clip; some lie beyond it on both sides. Empty when nothing is said.
        words: What is heard in the clip; the first and last may be cut.
        text: The whole utterance that the clip is cut from, or "".
        voice_id: Name in the catalogue, or "".
        role: What the person does.
    """

    performance: Performance
    waveform: NDArray[np.float32]
    phones: tuple[Phone, ...]
    words: tuple[Word, ...]
    text: str
    voice_id: str
    role: Role


def speak(
    seed: int,
    split: Split,
    frames: int,
    register: Register | None = None,
    partner_direction_deg: float = 0.0,
    style: Style | None = None,
    cache_dir: Path | None = None,
) -> Track:
    """A speaking person's part of `frames` frames.

    Args:
        seed: Chooses voice, words, window and motion; the same arguments give the same track.
        split: Voices and sentences of `train` and `test` never meet.
        frames: At 25 fps, >= 1.
        register: Low or high voices only.
        partner_direction_deg: See `perform`.
        style: How the person moves; None draws one.
        cache_dir: Where utterances are kept between runs, if anywhere.
    """
    speech = utterance(seed // WINDOWS, split, register, cache_dir)
    rng = np.random.default_rng([seed, split == "test", 7])
    length = frames / FPS
    first, last = -0.4, max(-0.1, speech.duration - length + 0.4)
    share = (seed % WINDOWS + rng.uniform(0.0, 0.7)) / (WINDOWS - 0.3)
    part = cut(speech, first + (last - first) * share, frames)
    performance = perform(part, frames, rng, "speaker", partner_direction_deg, style)
    return Track(performance, part.waveform, part.phones, part.words, part.text, part.voice_id, "speaker")


def listen(
    seed: int, frames: int, role: Role = "listener", partner_direction_deg: float = 0.0, style: Style | None = None
) -> Track:
    """The part of a person who says nothing: `listener` or `idle`."""
    if role == "speaker":
        raise InputError("a silent person cannot be the speaker", hint="Choose 'listener' or 'idle'.")
    rng = np.random.default_rng([seed, 11])
    performance = perform(None, frames, rng, role, partner_direction_deg, style)
    return Track(performance, np.zeros(samples(frames), np.float32), (), (), "", "", role)


def samples(frames: int) -> int:
    """Samples of sound that belong to `frames` video frames."""
    return round(frames / FPS * SAMPLING_RATE)


def cut(speech: Speech, start: float, frames: int) -> Speech:
    """The `frames / 25` seconds of `speech` from `start` (may be negative or run past the end: silence).

    Phones within half a second of the cut are kept with their times, so that lips know what comes next.
    """
    count = samples(frames)
    offset = round(start * SAMPLING_RATE)
    waveform = np.zeros(count, np.float32)
    low, high = max(offset, 0), min(offset + count, len(speech.waveform))
    if high > low:
        waveform[low - offset : high - offset] = speech.waveform[low:high]
    shift = -offset / SAMPLING_RATE
    length = count / SAMPLING_RATE
    phones = tuple(
        phone.shifted(shift)
        for phone in speech.phones
        if phone.end + shift > -0.5 and phone.start + shift < length + 0.5
    )
    words = tuple(word.shifted(shift) for word in speech.words if word.end + shift > 0 and word.start + shift < length)
    return Speech(waveform, SAMPLING_RATE, phones, words, speech.text, speech.voice_id)


def recite(number: int, split: Split, cache_dir: Path | None = None) -> Track:
    """A whole utterance and the motion that belongs to it, unseen: voices and lips by the hour for next to nothing.

    Only engines that take a fraction of a second speak.

    Args:
        number: Chooses voice, words and motion.
        split: Voices and sentences of `train` and `test` never meet.
        cache_dir: Where utterances are kept between runs, if anywhere.
    """
    engines = tuple(name for name in available_engines() if name != "kokoro")
    speech = _utterance(number, split, None, 3, engines, cache_dir)
    margin = 0.4  # s of silence on both sides
    part = cut(speech, -margin, round((speech.duration + 2 * margin) * FPS))
    frames = len(part.waveform) // samples(1)
    performance = perform(part, frames, np.random.default_rng([number, split == "test", 13]))
    return Track(performance, part.waveform, part.phones, part.words, part.text, part.voice_id, "speaker")


def utterance(
    number: int, split: Split, register: Register | None = None, cache_dir: Path | None = None, sentences: int = 3
) -> Speech:
    """Utterance `number` of a set: a voice and a text drawn from the number, spoken and aligned.

    Raises:
        InputError: Nothing could be aligned in 20 attempts (a broken speech engine).
    """
    return _utterance(number, split, register, sentences, available_engines(), cache_dir)


@functools.lru_cache(maxsize=16)
def _utterance(
    number: int,
    split: Split,
    register: Register | None,
    sentences: int,
    engines: tuple[Engine, ...],
    cache_dir: Path | None,
) -> Speech:
    key = repr((_CATALOGUE, number, split, register, sentences, engines))
    kept = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz" if cache_dir else None
    if kept is not None and kept.exists():
        return load_speech(kept)
    rng = np.random.default_rng([number, split == "test", {None: 0, "low": 1, "high": 2}[register], sentences])
    reasons: list[str] = []
    for _ in range(_ATTEMPTS):
        voice = draw_voice(rng, split, register, engines)
        text = sample_text(rng, split, sentences)
        try:
            speech = synthesize(text, voice, float(rng.uniform(0.85, 1.15)))
        except AlignmentError as error:
            reasons.append(f"{voice.id}: {error}")
            continue
        if kept is not None:
            save_speech(speech, kept)
        return speech
    raise InputError(f"no utterance could be aligned: {reasons[-1]}", hint="Check the speech engines.")


def draw_voice(
    rng: np.random.Generator, split: Split, register: Register | None = None, engines: Collection[Engine] = ENGINES
) -> Voice:
    """A random voice of `engines`, where installed: first the engine by its share, then one of its voices."""
    choices: dict[Engine, list[Voice]] = {}
    for voice in available_voices(split):
        if register in (None, voice.register) and voice.engine in engines:
            choices.setdefault(voice.engine, []).append(voice)
    names = list(choices)
    shares = np.array([_SHARES[name] for name in names])
    voices = choices[names[int(rng.choice(len(names), p=shares / shares.sum()))]]
    return voices[int(rng.integers(len(voices)))]
