"""What decides the clips made of footage."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from talkies.domain.clip import FrameSize, is_clip_length
from talkies.domain.errors import InputError
from talkies.domain.manifest import Split

#: Raised whenever the same video and settings give other clips.
VERSION = 1
#: Sizes of clips by their number of people, those of the stage: (width, height).
SIZES = {1: (160, 192), 2: (320, 192), 3: (448, 192), 4: (576, 192)}

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class QualityLimits(_Strict):
    """Clips beyond these are left out, each with its reason in the report.

    Attributes:
        scale: Smallest factor from the clip's pixels to the video's: below 1 the clip is enlarged.
        face_height: Of every face, as a share of the clip's height.
        face_score: How sure the detector is of every face, on average.
        turn: How far a head is turned: nose from the middle of the eyes, in face heights (median).
        sharpness: Of every face (`quality.sharpness`), median over time.
        darkest, brightest: Median grey level of every face, 0..255.
        movement: Mean change of the faces' grey levels within 0.2 s; a still picture has less.
        loudness: Of the sound, LUFS. clipped: Share of samples at full scale.
        speech: Share of frames in which anybody speaks.
        speech_to_noise: Power of speech over that of the pauses, dB; only judged where there are pauses.
    """

    scale: float = Field(default=0.75, gt=0)
    face_height: Share = 0.12
    face_score: Share = 0.5
    turn: float = Field(default=0.3, gt=0)
    sharpness: float = Field(default=8.0, ge=0)
    darkest: float = Field(default=25.0, ge=0)
    brightest: float = Field(default=235.0, le=255)
    movement: float = Field(default=0.4, ge=0)
    loudness: float = -50.0
    clipped: Share = 0.005
    speech: Share = 0.3
    speech_to_noise: float = 6.0


class FootageSettings(_Strict):
    """What decides a set of clips, apart from the videos.

    Attributes:
        name: Of the set; shards begin with it. split: Training or test; give people to one of them only.
        size: (width, height) of every clip, or None: by the number of people, as the stage has it (`SIZES`).
        shortest, longest: Frames of a clip, 4n + 1.
        most_people: Clips with more are left out.
        detect_every: Frames between two searches for faces.
        part_seconds: Videos are worked on in parts of this length: for many machines, and to go on where it stopped.
        limits: Of quality.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "footage"
    split: Split = "train"
    size: tuple[int, int] | None = None
    shortest: int = 33
    longest: int = 129
    most_people: int = Field(default=4, ge=1, le=8)
    detect_every: int = Field(default=8, ge=1, le=25)
    part_seconds: int = Field(default=120, ge=10, le=600)
    limits: QualityLimits = QualityLimits()
    version: int = VERSION

    @model_validator(mode="after")
    def _lengths(self) -> FootageSettings:
        if not (is_clip_length(self.shortest) and is_clip_length(self.longest)):
            raise InputError(f"{self.shortest}-{self.longest} frames: both must be 4n+1.", "For example 33-129.")
        if not 9 <= self.shortest <= self.longest <= 513:
            raise InputError(f"Clips of {self.shortest}-{self.longest} frames cannot be made.", "From 9 to 513.")
        if self.size is not None:
            FrameSize(*self.size).require_multiple(16)
        return self

    def frame_size(self, people: int) -> FrameSize:
        """Of a clip with so many people."""
        return FrameSize(*(self.size or SIZES[min(max(people, 1), 4)]))

    @property
    def working_side(self) -> int:
        """Longest side of pictures while they are worked on, in pixels."""
        return max(960, 2 * max(self.size or (0, 0)))
