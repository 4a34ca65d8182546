"""A sentence spoken by a voice, with the exact time of every phone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE
from talkies.stage.alignment import SILENCE, Phone, Word, align
from talkies.stage.voices import Voice, render

#: Pause left before the first and after the last phone, in seconds.
_EDGE = 0.12


@dataclass(frozen=True)
class Speech:
    """What one person says.

    Attributes:
        waveform: `[n]` float32 mono in [-1, 1].
        sampling_rate: Hz.
        phones: Gapless from 0 to the end of the waveform, pauses as `SIL`.
        words: In order.
        text: As written.
        voice_id: Who speaks.
    """

    waveform: NDArray[np.float32]
    sampling_rate: int
    phones: tuple[Phone, ...]
    words: tuple[Word, ...]
    text: str
    voice_id: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sampling_rate


def synthesize(text: str, voice: Voice, stretch: float = 1.0) -> Speech:
    """Let `voice` say `text`, `stretch` times as slowly as usual, and find its phones.

    Raises:
        InputError: The engine cannot say the text.
        AlignmentError: The phones could not be found with confidence; say something else.
    """
    waveform = render(text, voice, stretch)
    found = align(waveform, text)
    phones = found.phones
    spoken = [phone for phone in phones if phone.label != SILENCE]
    start = max(0, round((spoken[0].start - _EDGE) * SAMPLING_RATE))
    end = min(len(waveform), round((spoken[-1].end + _EDGE) * SAMPLING_RATE))
    duration = (end - start) / SAMPLING_RATE
    kept = [phone.shifted(-start / SAMPLING_RATE) for phone in phones]
    inside = tuple(
        Phone(p.label, max(p.start, 0.0), min(p.end, duration)) for p in kept if p.end > 1e-6 and p.start < duration
    )
    words = tuple(word.shifted(-start / SAMPLING_RATE) for word in found.words)
    return Speech(waveform[start:end], SAMPLING_RATE, inside, words, text, voice.id)


def save_speech(speech: Speech, path: Path) -> None:
    """Keep `speech` as one npz file, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez(
            file,
            waveform=speech.waveform,
            sampling_rate=speech.sampling_rate,
            labels=np.array([phone.label for phone in speech.phones]),
            times=np.array([(phone.start, phone.end) for phone in speech.phones]),
            words=np.array([word.text for word in speech.words]),
            word_times=np.array([(word.start, word.end) for word in speech.words]),
            text=speech.text,
            voice_id=speech.voice_id,
        )
    partial.replace(path)


def load_speech(path: Path) -> Speech:
    """Read what `save_speech` wrote.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            phones = tuple(
                Phone(str(label), float(start), float(end))
                for label, (start, end) in zip(data["labels"], data["times"], strict=True)
            )
            words = tuple(
                Word(str(text), float(start), float(end))
                for text, (start, end) in zip(data["words"], data["word_times"], strict=True)
            )
            rate, text, voice_id = int(data["sampling_rate"]), str(data["text"]), str(data["voice_id"])
            return Speech(data["waveform"], rate, phones, words, text, voice_id)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a stored utterance: {error}", hint="Delete the file.") from error
