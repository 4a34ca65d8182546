"""How a video is generated: the settings of one run, and the defaults a model folder brings along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from talkies.domain.clip import MAX_SIDE, FrameSize, fit_area, nearest_bucket
from talkies.domain.errors import InputError
from talkies.domain.liveliness import Liveliness
from talkies.sampling.rollout import RolloutSettings
from talkies.sampling.settings import SETTINGS, SamplingSettings

NEGATIVE_PROMPT = (
    "bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall "
    "gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, "
    "poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three "
    "legs, many people in the background, walking backwards."
)
"""The paper's, word for word (supplement)."""

_LARGE_AREA = 627 * 960
"""Pixels from which the 720p shift applies: midway, in ratio, between the areas of the authors' two size tables."""


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that decides how a video is generated, apart from its inputs and the seed.

    The defaults are the 14B model's; a model folder's ``model_index.json`` may hold others under ``generation``.

    Args:
        num_inference_steps: Denoising steps per segment (paper: 40).
        flow_shift: Shift of the schedule; None takes 7 up to 480p sizes and 11 above.
        text_guidance_scale: Guidance by the prompt, 1 = none.
        cue_guidance_scale: Guidance by the prompt in segments that have words of their own; None: as in all others.
        audio_guidance_scale: Guidance by the audio, 1 = none.
        projected_guidance: APG instead of plain guidance.
        negative_prompt: What guidance by the prompt leads away from.
        own_words: Of a prompt that tells of several people, everybody's part of the picture reads what is said of them
            and of nobody in particular (``talkies.domain.own_words``); for networks trained so.
        prediction: What the network's output means: "velocity", or "sample" for clean latents.
        clip_sample: With "sample", (first channel, one past the last, limit): clean latents beyond it are cut off.
        blinks_per_minute: How often everybody blinks, for autoencoders that know faces (``talkies.domain.blinks``); 0
            leaves it to the network.
        gaze_scale: How far everybody's eyes wander (``talkies.domain.gaze``), for the same autoencoders: 1 as in
            conversation, 0 not at all.
        liveliness: How much everybody moves (``talkies.domain.liveliness``), or the least and the most of what is drawn
            for each person; None for networks that are not told.
        max_sequence_length: Text tokens; longer prompts are cut.
        size: A table of the authors' ("multitalk-480", "multitalk-720"), "WIDTHxHEIGHT", or a number of pixels to keep
            the picture's shape with, in all (61440) or for each person ("30720 each": faces keep their size).
        segment_frames: Frames of a segment, 4n+1.
        motion_frames: Frames handed from one segment to the next, 4k+1 (paper: 5; authors' program: 25).
        hand_over, known_latents, latent_sink, colour_strength, colour_feedback: See ``RolloutSettings``.
        image_tokens: Which frame the image encoder sees in later segments: the "reference", or the "previous" segment's
            last frame (the authors' way; identity drifts).
    """

    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = 40
    flow_shift: float | None = None
    text_guidance_scale: float = 5.0
    cue_guidance_scale: float | None = None
    audio_guidance_scale: float = 4.0
    projected_guidance: bool = False
    negative_prompt: str = NEGATIVE_PROMPT
    own_words: bool = False
    prediction: Literal["velocity", "sample"] = "velocity"
    clip_sample: tuple[tuple[int, int, Annotated[float, Field(gt=0)]], ...] = ()
    blinks_per_minute: Annotated[float, Field(ge=0, le=60)] = 0.0
    gaze_scale: Annotated[float, Field(ge=0, le=2)] = 0.0
    liveliness: Liveliness | tuple[Liveliness, Liveliness] | None = None
    max_sequence_length: Annotated[int, Field(ge=1, le=8192)] = 512
    size: str | int = "multitalk-480"
    segment_frames: int = 81
    motion_frames: int = 25
    hand_over: Literal["latents", "pixels"] = "latents"
    known_latents: Literal["renoised", "clean"] = "renoised"
    latent_sink: bool = False
    colour_strength: float = 1.0
    colour_feedback: bool = False
    image_tokens: Literal["reference", "previous"] = "reference"

    @classmethod
    def from_config(cls, values: Mapping[str, Any] | None) -> GenerationSettings:
        """Settings of a model folder.

        Raises:
            InputError: A name is unknown.
        """
        return cls().replace(values or {})

    def replace(self, values: Mapping[str, Any]) -> GenerationSettings:
        """A copy with some settings changed; None leaves a setting as it is.

        Raises:
            InputError: A name is unknown, or a value is of another kind.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            raise InputError(f"Unknown generation settings: {', '.join(unknown)}.", "Check the model folder's config.")
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return _kinds().validate_python(dataclasses.asdict(self) | given)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False)[0]
            reason = problem["msg"].removeprefix("Input should be ")
            raise InputError(f"The setting {problem['loc'][0]} is {problem['input']!r}; it must be {reason}.") from None

    def check_told(self, defaults: GenerationSettings) -> None:
        """Raises InputError for a liveliness that a model with these ``defaults`` is not told."""
        if self.liveliness is not None and defaults.liveliness is None:
            raise InputError("This model is not told how lively people are.", "Leave the setting liveliness out.")

    def sampling(self, size: FrameSize) -> SamplingSettings:
        """Steps, shift and guidance for videos of ``size``."""
        shift = self.flow_shift
        if shift is None:
            shift = SETTINGS["720p" if size.width * size.height > _LARGE_AREA else "480p"].shift
        return SamplingSettings(
            self.num_inference_steps,
            shift,
            self.text_guidance_scale,
            self.audio_guidance_scale,
            self.projected_guidance,
        )

    def cue_sampling(self, size: FrameSize) -> SamplingSettings:
        """``sampling`` of segments that have words of their own; text guidance that was asked for is never lowered."""
        scale = self.cue_guidance_scale
        plain = self.sampling(size)
        return plain if scale is None else dataclasses.replace(plain, text_scale=max(scale, plain.text_scale))

    def rollout(self) -> RolloutSettings:
        """How one segment follows the other."""
        return RolloutSettings(
            self.hand_over, self.known_latents, self.latent_sink, self.colour_strength, self.colour_feedback
        )

    def frame_size(self, width: int, height: int, multiple: int, people: int = 1) -> FrameSize:
        """Size of the video for a picture of ``width`` x ``height``; both sides multiples of ``multiple``.

        Raises:
            InputError: ``size`` cannot be read or does not fit.
        """
        if isinstance(self.size, int):
            if not 1 <= self.size <= MAX_SIDE**2:
                raise InputError(f"A frame of {self.size} pixels is out of range 1..{MAX_SIDE**2}.")
            return fit_area(width, height, self.size, multiple)
        if self.size.endswith(" each") and self.size[:-5].isdecimal():
            each = int(self.size[:-5])
            if not 1 <= each <= MAX_SIDE**2:
                raise InputError(f"A frame of {each} pixels for each person is out of range 1..{MAX_SIDE**2}.")
            return fit_area(width, height, each * people, multiple)
        if self.size.startswith("multitalk-"):
            try:
                return nearest_bucket(width, height, self.size).require_multiple(multiple)
            except KeyError:
                raise InputError(f"There is no table of sizes {self.size!r}.", "Use multitalk-480.") from None
        return FrameSize.parse(self.size).require_multiple(multiple)


@cache
def _kinds() -> TypeAdapter[GenerationSettings]:
    """Checks the kind of every setting."""
    return TypeAdapter(GenerationSettings)
