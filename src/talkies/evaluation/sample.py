"""What is evaluated: a video, who is in it with which voice, and what is known to be true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.appearance import look, strip, thumbnail
from talkies.evaluation.faces import Blocks, FaceTrack, track_faces
from talkies.evaluation.mouth import Mouth, measured_mouth
from talkies.evaluation.speech import expected_opening, voiced

Array = NDArray[np.float32]

#: Shorter videos say nothing about lips.
MIN_FRAMES = 10
#: Frames between two that are kept, small, for reports.
THUMBNAIL_STEP = 12


@dataclass(frozen=True)
class AskedGesture:
    """A gesture that was asked for; `middle` of its stroke in seconds, where that is known."""

    name: str
    middle: float | None = None


@dataclass(frozen=True)
class Person:
    """One person as they should be.

    Attributes:
        name: For tables.
        voice: `[n]` float32, 16 kHz, from the first frame on; None or silence: this person keeps quiet.
        truth: The lips as they were performed, or None.
        face_box: `[4]` x0, y0, x1, y1 in shares of the picture's width and height, or None: faces left to right.
        phones: Label, start and end in seconds of every phone, as far as known.
        asked: Gestures that were asked for; None where nothing is known of it.
    """

    name: str
    voice: Array | None = None
    truth: Mouth | None = None
    face_box: tuple[float, float, float, float] | None = None
    phones: tuple[tuple[str, float, float], ...] = ()
    asked: tuple[AskedGesture, ...] | None = None

    @property
    def silent(self) -> bool:
        """Whether nothing is said all along."""
        return self.voice is None or float(np.abs(self.voice).max(initial=0.0)) < 1e-3


@dataclass(frozen=True)
class Sample:
    """One video to be judged.

    Attributes:
        key: Its name; equal keys of different models are the same task.
        video: Frames, as often as wanted.
        people: Who should be in it, left to right.
        prompt: What was asked for.
        reference: `[H, W, 3]` the picture it was made from, or None: the first frame.
        run: What is known of its making: `seconds`, `peak_bytes`.
        exchanged: Made for the same task with the two people's voices exchanged, where there is such a video.
        failure: Why it cannot be measured, or "".
    """

    key: str
    video: Blocks
    people: tuple[Person, ...]
    prompt: str = ""
    reference: NDArray[np.uint8] | None = None
    run: dict[str, float] = field(default_factory=dict)
    exchanged: Blocks | None = None
    failure: str = ""


class Observation:
    """A sample and what was seen in it; everything is computed once, when first asked for.

    Args:
        sample: The sample.

    Raises:
        InputError: On use, if the video is broken or too short, or faces are missing.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._remembered: dict[str, Any] = {}

    def remember(self, name: str, compute: Callable[[], Any]) -> Any:
        """What was computed under a name before, here or with other voices; else it is computed now.

        Args:
            name: Of something that follows from the pictures alone.
        """
        if name not in self._remembered:
            self._remembered[name] = compute()
        return self._remembered[name]

    def with_voices(self, people: tuple[Person, ...]) -> Observation:
        """The same video as if `people` were to be seen in it; faces found are kept, they stay where they are."""
        placed = tuple(
            replace(other, name=own.name, face_box=own.face_box)
            for other, own in zip(people, self.sample.people, strict=True)
        )
        other = Observation(replace(self.sample, people=placed, exchanged=None))
        other._remembered = self._remembered
        for name in ("_first_pass", "faces"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other

    @cached_property
    def _first_pass(self) -> tuple[NDArray[np.float64], tuple[int, int], list[NDArray[np.uint8]]]:
        looks: list[NDArray[np.float64]] = []
        thumbnails: list[NDArray[np.uint8]] = []
        before: NDArray[np.uint8] | None = None
        if self.sample.failure:
            raise InputError(self.sample.failure)
        for block in self.sample.video.blocks():
            for frame in block:
                if len(looks) % THUMBNAIL_STEP == 0:
                    thumbnails.append(thumbnail(frame))
                looks.append(look(frame, before))
                before = frame
        if before is None or len(looks) < MIN_FRAMES:
            raise InputError(f"{self.sample.key} has {len(looks)} frames; at least {MIN_FRAMES} are needed.")
        return np.stack(looks), (int(before.shape[0]), int(before.shape[1])), thumbnails

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height, width."""
        looks, (height, width), _ = self._first_pass
        return len(looks), height, width

    @property
    def looks(self) -> NDArray[np.float64]:
        """`[F, 6]`, see `appearance.look`."""
        return self._first_pass[0]

    @property
    def strip(self) -> str:
        """Some frames for a report, see `appearance.strip`."""
        return strip(self._first_pass[2])

    @cached_property
    def faces(self) -> tuple[FaceTrack | None, ...]:
        """One per person; None where nobody is found."""
        _, height, width = self.size
        boxes = [person.face_box for person in self.sample.people]
        if all(box is not None for box in boxes):
            scale = np.array([width, height, width, height], np.float32)
            return track_faces(self.sample.video, [np.asarray(box, np.float32) * scale for box in boxes])
        found = track_faces(self.sample.video, people=len(boxes))
        missing = len(boxes) - len(found)
        return (*found[: len(boxes)], *([None] * max(0, missing)))

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of people whose face is not found."""
        return tuple(p.name for p, face in zip(self.sample.people, self.faces, strict=True) if face is None)

    @property
    def found_faces(self) -> tuple[FaceTrack, ...]:
        """The face of every person.

        Raises:
            InputError: Somebody's face is not found.
        """
        if self.lost:
            raise InputError(f"{self.sample.key}: no face is found for {', '.join(self.lost)}.")
        return tuple(face for face in self.faces if face is not None)

    @cached_property
    def mouths(self) -> tuple[Mouth, ...]:
        """The measured lips of every person.

        Raises:
            InputError: Somebody's face is not found.
        """
        return tuple(measured_mouth(face) for face in self.found_faces)

    def voice(self, person: int) -> Array:
        """A person's voice, `[F * 640]`, silence where they have none."""
        voice = self.sample.people[person].voice
        return np.zeros(self.size[0] * 640, np.float32) if voice is None else voice

    @cached_property
    def expected(self) -> tuple[Array, ...]:
        """Lip openings `[F]` that the voices ask for."""
        return tuple(expected_opening(self.voice(k), self.size[0]) for k in range(len(self.sample.people)))

    @cached_property
    def speaking(self) -> tuple[NDArray[np.bool_], ...]:
        """Frames `[F]` in which each person is heard."""
        return tuple(voiced(self.voice(k), self.size[0]) for k in range(len(self.sample.people)))


def trimmed(values: NDArray[Any], count: int) -> NDArray[Any]:
    """The first `count` entries; shorter ones are continued with their last."""
    if len(values) >= count:
        return values[:count]
    return np.concatenate([values, np.repeat(values[-1:], count - len(values), axis=0)])
