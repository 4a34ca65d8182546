"""Requests and answers of the service. Names and shapes are those of the `openai` client; additions are marked so."""

from __future__ import annotations

import json
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from talkies.domain.conversation import (
    MAX_DIRECTIONS,
    MAX_SECONDS,
    MAX_SPEAKERS,
    MAX_TURNS,
    Direct,
    Direction,
    Name,
    Pixel,
    Prompt,
    Second,
    Text,
)
from talkies.domain.dialogue import MAX_PAUSE
from talkies.domain.liveliness import Liveliness

Item = TypeVar("Item")
#: Longest reference: a data URL of a whole request.
Reference = Annotated[str, StringConstraints(min_length=1, max_length=300_000_000)]


def _from_json(value: Any) -> Any:
    """Fields of a form are text: lists and objects come as JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
    return value


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RegionIn(_Request):
    """Where a person is: exactly one of the three."""

    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = Field(None, description="[left, top, right, bottom] in pixels.")
    point: tuple[Pixel, Pixel] | None = Field(None, description="[x, y] in pixels: a point on the person.")
    mask: Reference | None = Field(None, description="A picture, white where the person is; as `audio`.")


class SpeakerIn(_Request):
    """One person of the picture; without anything to say they stay silent."""

    name: Name | None = Field(None, description="How the turns call this person.")
    audio: Reference | None = Field(
        None,
        description="A recording: the id of an uploaded file, a `data:` URL, or `attach://PART` for another part of "
        "this form.",
    )
    text: Text | None = Field(None, description="A text to be spoken instead.")
    voice: Name | None = Field(None, description="Synthetic voice for texts.")
    language: Annotated[str, StringConstraints(max_length=20)] | None = Field(None, description="As in `en`, `ja`.")
    region: RegionIn | None = Field(None, description="Where the person is; found when left out.")
    liveliness: Liveliness | None = Field(
        None, description="How much this person's head moves, 1 on average; drawn when left out."
    )


class TurnIn(_Request):
    """Somebody speaks, or reacts without words."""

    speaker: Name = Field(description="Name of the speaker.")
    start: Second | None = Field(None, description="In seconds; after the turn before when left out.")
    pause: Annotated[float, Field(ge=-MAX_PAUSE, le=MAX_SECONDS)] | None = Field(
        None,
        description="Without `start`: seconds of silence after the turn before; negative begins before that one ends.",
    )
    audio: Reference | None = Field(None, description="As of a speaker.")
    text: Text | None = Field(None, description="As of a speaker.")
    does: Direct | None = Field(
        None, description="What the speaker does meanwhile, as in `nods`; alone, a reaction of two seconds."
    )


class FileReference(_Request):
    """A picture by reference, as the `openai` client writes it."""

    file_id: Reference | None = Field(None, description="An uploaded file.")
    image_url: Reference | None = Field(None, description="A `data:` URL; nothing is fetched from the network.")


class VideoCreate(_Request):
    """What to make. Everything but `input_reference` and somebody who speaks has a default."""

    prompt: Prompt | None = Field(None, description="What happens; the picture is captioned when left out.")
    input_reference: Annotated[Reference | FileReference, BeforeValidator(_from_json)] | None = Field(
        None, description="The picture: a file of the form, or a reference."
    )
    model: str | None = Field(None, max_length=200, description="One of `/v1/models`.")
    seconds: Annotated[float, Field(ge=0.04, le=MAX_SECONDS)] | None = Field(
        None, description="Stop there; else when everything is said."
    )
    size: str | None = Field(None, pattern=r"^\d{2,4}x\d{2,4}$", description="WIDTHxHEIGHT; else the model's.")
    speakers: Annotated[
        Annotated[list[SpeakerIn], Field(min_length=1, max_length=MAX_SPEAKERS)] | None, BeforeValidator(_from_json)
    ] = Field(None, description="Addition: the people, left to right. In a form: JSON text.")
    turns: Annotated[
        Literal["together", "in_turn"] | Annotated[list[TurnIn], Field(min_length=1, max_length=MAX_TURNS)] | None,
        BeforeValidator(_from_json),
    ] = Field(None, description="Addition: who speaks when. In a form: JSON text.")
    directions: Annotated[
        Annotated[list[Direction], Field(max_length=MAX_DIRECTIONS)] | None, BeforeValidator(_from_json)
    ] = Field(None, description="Addition: what happens when. In a form: JSON text.")
    negative_prompt: Prompt | None = Field(None, description="Addition: what to avoid.")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="Addition: denoising steps.")
    text_guidance_scale: float | None = Field(None, ge=0, le=100, description="Addition: guidance by the prompt.")
    audio_guidance_scale: float | None = Field(None, ge=0, le=100, description="Addition: guidance by the voices.")
    seed: int = Field(0, ge=0, lt=2**63, description="Addition: the same seed gives the same video.")
    fps: Annotated[float, Field(ge=1, le=120)] = Field(25, description="Addition: frames per second of the file.")
    consent: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = Field(
        None, description="Addition: why these people may be shown speaking, in your words. Kept with the video."
    )


class VideoError(BaseModel):
    """Why a video was not made."""

    code: str
    message: str


class Video(BaseModel):
    """A video, made or being made."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int = Field(ge=0, le=100, description="Per cent.")
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | None = Field(None, description="Of a failed one; `code` is `cancelled` when it was stopped.")
    prompt: str | None = None
    seconds: str = Field(description='Length; "0" until it is known.')
    size: str = Field(description='WIDTHxHEIGHT; "auto" until it is known.')
    remixed_from_video_id: str | None = None
    stage: str = Field("", description="Addition: what is being done, in words.")


class _Page(BaseModel, Generic[Item]):
    object: Literal["list"] = "list"
    data: list[Item]


class _Deleted(BaseModel):
    id: str
    deleted: bool = True


class VideoPage(_Page[Video]):
    """Some of the videos."""

    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(_Deleted):
    """A video is gone."""

    object: Literal["video.deleted"] = "video.deleted"


class File(BaseModel):
    """An uploaded picture or recording, as it was re-encoded."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    kind: Literal["image", "audio"] = Field(description="Addition.")
    seconds: float | None = Field(None, description="Addition: of a recording.")
    width: int | None = Field(None, description="Addition: of a picture, in pixels.")
    height: int | None = Field(None, description="Addition.")


class FilePage(_Page[File]):
    """All uploaded files."""

    has_more: bool = False


class FileDeleted(_Deleted):
    """A file is gone."""

    object: Literal["file"] = "file"


class Model(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "talkies"


class ModelPage(_Page[Model]):
    """All models."""


class Health(BaseModel):
    """Whether the service can work."""

    status: Literal["ok", "no_worker", "disk_full"]
    version: str


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None = None
    code: str


class ErrorAnswer(BaseModel):
    """A refusal."""

    error: ErrorDetail
