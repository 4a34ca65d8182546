"""The manifest of a clip: what is known of it apart from arrays; the same for synthetic people and for footage."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = "talkies-clips"
VERSION: Final = 1

Split = Literal["train", "test"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PersonEntry(_Strict):
    """One person of a clip; pixels x right, y down, over all frames.

    Attributes:
        id: Equal ids are the same person: a seed of the stage, or a face followed through a shot.
        audio: Suffix of the voice's member. box: Around the mask, ends excluded; None where nothing is seen.
        face_box: Around the face. voice: Id of a synthetic voice, or "".
        text: What is said, as far as it is known. words: Word, start, end in seconds.
        looks, gestures: What captions were made from; empty for footage.
    """

    id: int | str
    audio: str
    box: tuple[int, int, int, int] | None
    face_box: tuple[float, float, float, float]
    voice: str = ""
    text: str = ""
    words: tuple[tuple[str, float, float], ...] = ()
    looks: dict[str, Any] = Field(default_factory=dict)
    gestures: tuple[dict[str, Any], ...] = ()


class TurnEntry(_Strict):
    """A stretch of speech of one person, in seconds of the clip; it may begin before and end after it."""

    person: int
    start: float
    end: float
    kind: Literal["turn", "backchannel"] = "turn"
    text: str = ""


class ClipManifest(_Strict):
    """One clip.

    Attributes:
        source: `stage` (synthetic people) or `footage`.
        pattern, place, light, camera, seed: Of the stage; None for footage.
        origin: Of footage: the file, its fingerprint, the second the clip begins at, the window cut out, quality.
    """

    format: Literal["talkies-clips"] = FORMAT
    version: Literal[1] = VERSION
    key: str = Field(pattern=r"^[^./]+$")
    set: str
    split: Split
    frames: int = Field(ge=1)
    fps: float = 25
    height: int
    width: int
    sampling_rate: int = 16_000
    source: Literal["stage", "footage"]
    captions: tuple[str, ...]
    people: tuple[PersonEntry, ...]
    turns: tuple[TurnEntry, ...] = ()
    pattern: str | None = None
    place: str | None = None
    light: str | None = None
    framing: str
    camera: dict[str, Any] | None = None
    seed: int | None = None
    origin: dict[str, Any] | None = None
