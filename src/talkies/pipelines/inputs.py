"""From what a caller gives to what the video loop takes: pictures, masks and voices of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from talkies.domain.clip import MAX_SIDE, CoverCrop, FrameSize, frames_for
from talkies.domain.directions import Cue
from talkies.domain.errors import InputError
from talkies.domain.liveliness import CALMEST, LIVELIEST
from talkies.media.image import fill_frame, frame_coordinates
from talkies.models.audio_encoder import FeatureTrack, ReadyTrack, SpeechEncoder, SpeechTrack, Waveform
from talkies.pipelines.settings import GenerationSettings
from talkies.sampling.segments import SegmentPlan
from talkies.sampling.settings import SamplingSettings

Picture = Image.Image | NDArray[np.uint8]
"""A picture of any size: PIL, or ``[H, W, 3]`` uint8."""

Masks = NDArray[Any] | Tensor
"""People's masks, of the picture's size or the video's: ``[P, H, W]``, or ``[B, P, H, W]``."""

Voices = Sequence[Waveform | None]
"""One waveform per person, mono at the encoder's rate; None for a person who is silent throughout."""


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """One video to generate, or a batch of videos of equal size, length and number of people.

    Attributes:
        image: The reference picture, or one per sample.
        audio: A voice per person, or such a list per sample.
        audio_embeds: Instead of ``audio``: features ``[F, S, C]`` per person, or such a list per sample.
        prompt: One text, or one per sample.
        negative_prompt: The same; None takes the settings'.
        prompt_embeds: Instead of ``prompt``: ``[B, L, D]``.
        negative_prompt_embeds: Instead of ``negative_prompt``: ``[B, L, D]``.
        image_embeds: Instead of running the image encoder: ``[B, I, D]``.
        person_masks: Needed for two people or more; see ``Masks``. Who speaks where.
        num_frames: Length of the video; None takes the longest voice's.
        size: Of the video; None takes the settings'.
        generator: CPU generator, or one per sample (then a sample does not depend on its batch). None: not repeatable.
        settings: None takes the model's defaults.
        cues: Words that join the prompt for parts of the video; a segment follows all that are on while it lasts.
        liveliness: How much each person moves (``talkies.domain.liveliness``), None for what the settings say.
    """

    image: Picture | Sequence[Picture] | Tensor
    audio: Voices | Sequence[Voices] | None = None
    audio_embeds: Sequence[Tensor] | Sequence[Sequence[Tensor]] | None = None
    prompt: str | Sequence[str] | None = None
    negative_prompt: str | Sequence[str] | None = None
    prompt_embeds: Tensor | None = None
    negative_prompt_embeds: Tensor | None = None
    image_embeds: Tensor | None = None
    person_masks: Masks | None = None
    num_frames: int | None = None
    size: FrameSize | None = None
    generator: torch.Generator | Sequence[torch.Generator] | None = None
    settings: GenerationSettings | None = None
    cues: Sequence[Cue] = ()
    liveliness: Sequence[float | None] = ()


@dataclass(frozen=True)
class GenerationPlan:
    """What a request will do, known before any network runs.

    Attributes:
        size: Of the video.
        segments: The segments.
        people: Number of people, the silent ones included.
        batch: Number of videos.
        sampling: Steps, shift and guidance.
        passes: Network calls per step of each segment.
    """

    size: FrameSize
    segments: SegmentPlan
    people: int
    batch: int
    sampling: SamplingSettings
    passes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Voiced:
    """What is heard in a batch, still to be encoded.

    Attributes:
        samples: Per sample, per person: a waveform (empty for silence), or features ``[F, S, C]``.
        num_frames: Length of the video in frames.
        encoded: Whether ``samples`` holds features.
    """

    samples: tuple[tuple[Any, ...], ...]
    num_frames: int
    encoded: bool

    @property
    def people(self) -> int:
        """Number of people, the silent ones included."""
        return len(self.samples[0])

    def tracks(self, encoder: SpeechEncoder | None, frames: int) -> list[list[FeatureTrack]]:
        """Features on demand for ``frames`` frames (the video and what its last windows look ahead)."""
        if self.encoded:
            return [[ReadyTrack(person) for person in sample] for sample in self.samples]
        assert encoder is not None  # listen() has checked  # noqa: S101
        return [[SpeechTrack(encoder, person, frames) for person in sample] for sample in self.samples]


def listen(request: GenerationRequest, batch: int, encoder: SpeechEncoder | None) -> Voiced:
    """Checks and counts the voices.

    Raises:
        InputError: There are none, their number differs within the batch, or they cannot be encoded.
    """
    given = request.audio if request.audio_embeds is None else request.audio_embeds
    if given is None or (request.audio is not None and request.audio_embeds is not None):
        raise InputError("Give either audio or audio_embeds.")
    if not isinstance(given, Sequence) or len(given) == 0:
        raise InputError("audio is one waveform per person, in a list.", "For a single person: audio=[waveform].")
    nested = isinstance(given[0], (list, tuple))
    samples = tuple(tuple(_voice(voice) for voice in sample) for sample in (given if nested else [given] * batch))  # type: ignore[union-attr]
    if len(samples) != batch or len({len(sample) for sample in samples}) != 1 or not samples[0]:
        raise InputError(
            f"A batch of {batch} needs the voices of as many samples, each with the same number of people.",
            f"Got {[len(sample) for sample in samples]} people.",
        )
    encoded = request.audio_embeds is not None
    if not encoded and encoder is None:
        raise InputError("This pipeline has no audio_encoder.", "Load one, or pass audio_embeds.")
    per_second = 1 if encoded else encoder.sampling_rate / encoder.fps  # type: ignore[union-attr]
    longest = max(len(person) for sample in samples for person in sample) / per_second  # in frames
    num_frames = request.num_frames
    if num_frames is None:
        if longest == 0:
            raise InputError("Everybody is silent: the video has no length.", "Give num_frames, or a voice.")
        num_frames = frames_for(longest, 1.0)
    return Voiced(samples, num_frames, encoded)


def check_liveliness(wanted: Sequence[float | None], settings: GenerationSettings, people: int) -> None:
    """Raises InputError for more people than there are, values out of range, or a model that is not told."""
    if len(wanted) > people:
        raise InputError(f"liveliness is given for {len(wanted)} people; there are {people}.")
    odd = [value for value in wanted if value is not None and not CALMEST <= value <= LIVELIEST]
    if odd:
        raise InputError(f"A liveliness of {odd[0]:g} is out of range {CALMEST:g}..{LIVELIEST:g}.")
    if settings.liveliness is None and any(value is not None for value in wanted):
        raise InputError("This model is not told how lively people are.", "Leave liveliness out.")


def _voice(voice: Any) -> Any:
    if voice is None:
        return np.zeros(0, dtype=np.float32)
    if not isinstance(voice, (np.ndarray, Tensor)) or voice.ndim not in (1, 3):
        kind = tuple(voice.shape) if hasattr(voice, "shape") else type(voice).__name__
        raise InputError(f"A voice is {kind}, not samples [n] at the encoder's rate.", "Decode and mix it to mono.")
    return voice


def load_reference(request: GenerationRequest, batch: int, size: FrameSize) -> Tensor:
    """The reference frames: pictures resized (bilinear) until they cover the frame, cropped in the middle.

    Returns:
        ``[B, 3, H, W]`` float32 in [-1, 1].

    Raises:
        InputError: A tensor has another size, or the number of pictures is not the batch's.
    """
    if isinstance(request.image, Tensor):
        if request.image.ndim != 4 or request.image.shape[1:] != (3, size.height, size.width):
            raise InputError(
                f"An image tensor is {tuple(request.image.shape)}, not [B, 3, {size.height}, {size.width}]."
            )
        return request.image.float().expand(batch, -1, -1, -1)
    pictures = [_picture(each) for each in _pictures(request.image)]
    if len(pictures) not in (1, batch):
        raise InputError(f"{len(pictures)} pictures were given for a batch of {batch}.")
    frames = [fill_frame(each, CoverCrop.of(FrameSize(*each.size), size)) for each in pictures]
    pixels = torch.stack([torch.from_numpy(np.array(frame)) for frame in frames])  # [B, H, W, 3]
    return (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).expand(batch, -1, -1, -1)


def source_size(request: GenerationRequest) -> FrameSize:
    """Size of the (first) picture, before it fills the frame."""
    if isinstance(request.image, Tensor):
        return FrameSize(request.image.shape[-1], request.image.shape[-2])
    return FrameSize(*_picture(_pictures(request.image)[0]).size)


def count_pictures(request: GenerationRequest) -> int:
    """Number of pictures given."""
    return len(request.image) if isinstance(request.image, Tensor) else len(_pictures(request.image))


def _pictures(image: Picture | Sequence[Picture]) -> Sequence[Picture]:
    return [image] if isinstance(image, (Image.Image, np.ndarray)) else image


def _picture(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    if max(image.size) > 4 * MAX_SIDE:
        raise InputError(f"The picture is {image.width}x{image.height}.", "Scale it down first.")
    return image.convert("RGB")


def load_masks(
    request: GenerationRequest, batch: int, people: int, size: FrameSize, latent: tuple[int, int]
) -> Tensor | None:
    """Who is where, at latent resolution (nearest neighbour, as the authors): the people in order, then the background.

    Returns:
        ``[B, P + 1, h, w]`` float32; None for a single person, who needs none.

    Raises:
        InputError: Masks are missing, of another size or number, or somebody's is empty.
    """
    if people == 1:
        return None
    if request.person_masks is None:
        raise InputError(f"{people} people were given, but no person_masks.", "Say who is where: one mask per person.")
    masks = torch.from_numpy(np.array(request.person_masks, dtype=np.float32))
    masks = masks[None] if masks.ndim == 3 else masks
    if masks.ndim != 4 or masks.shape[1] != people or masks.shape[0] not in (1, batch):
        raise InputError(f"person_masks are {list(masks.shape)}; {people} people need [{people}, H, W].")
    source = source_size(request)
    height, width = masks.shape[-2:]
    if (width, height) == (source.width, source.height) and source != size:
        rows, columns = frame_coordinates(CoverCrop.of(source, size))
        masks = masks[:, :, torch.from_numpy(rows)][..., torch.from_numpy(columns)]
    elif (width, height) != (size.width, size.height):
        raise InputError(
            f"person_masks are {width}x{height}.", f"Use the picture's size, {source}, or the video's, {size}."
        )
    present = (F.interpolate(masks, size=latent, mode="nearest") > 0).float()  # [B, P, h, w]
    for person in range(people):
        if not present[:, person].flatten(1).any(dim=1).all():
            raise InputError(f"The mask of person {person + 1} is empty within the frame.", "Give a larger region.")
    background = (present.sum(1, keepdim=True) == 0).float()
    return torch.cat([present, background], dim=1).expand(batch, -1, -1, -1)
