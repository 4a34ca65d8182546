"""The network's side of the video loop: one run's conditions, and the network call of each segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from talkies.models.audio_adapter import window_audio
from talkies.models.audio_encoder import FeatureTrack
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.diffusers_hooks import reset_cache
from talkies.sampling.denoise import Predict, clip_sample
from talkies.sampling.guidance import Branch
from talkies.sampling.rollout import Condition, HandOver
from talkies.sampling.schedule import NOISE_RANGE
from talkies.sampling.segments import Segment


@dataclass(frozen=True, eq=False)
class Directed:
    """Prompts of a segment in which something else is to happen.

    Attributes:
        prompts: ``[B, L, D]``, or ``[B, C, L, D]`` for C regions.
        regions: ``[B, C, h, w]``, the last for everything else; None with one prompt.
    """

    prompts: Tensor
    regions: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a run is conditioned on beside its frames; encoded once.

    Attributes:
        prompt: ``[B, L, D]``.
        negative: ``[B, L, D]``; None if no pass needs it.
        image: Image tokens of the reference ``[B, I, D]``; None for networks without.
        masks: ``[B, P + 1, h, w]``; None for one person.
        tracks: Features per sample, per person.
        directed: Instead of ``prompt`` in some segments, by their index.
        told: What the network is told of every cell beside its frames, ``[B, c, h, w]``; None for nothing.
    """

    prompt: Tensor
    negative: Tensor | None
    image: Tensor | None
    masks: Tensor | None
    tracks: list[list[FeatureTrack]]
    directed: Mapping[int, Directed] = field(default_factory=dict)
    told: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SegmentPredictor:
    """Makes each segment's network call.

    Attributes:
        transformer: The network.
        conditions: The run's.
        prediction: What the network's output means.
        limits: Of clean latents, if it means those (`clip_sample`).
        encode_last_frame: Gives the image tokens of a frame ``[B, 3, H, W]``; None keeps the reference's throughout.
    """

    transformer: MultiTalkTransformer3DModel
    conditions: Conditions
    prediction: Literal["velocity", "sample"]
    encode_last_frame: Callable[[Tensor], Tensor] | None
    limits: Sequence[tuple[int, int, float]] = ()

    def __call__(self, segment: Segment, condition: Condition, before: HandOver | None) -> Predict:
        """``predict(branch, latents [B, z, T, h, w], timestep [B]) -> velocity`` for one segment."""
        transformer, conditions = self.transformer, self.conditions
        reset_cache(transformer)  # caches between steps count from a segment's first step
        device, dtype = condition.channels.device, transformer.dtype
        channels = condition.channels.to(dtype)
        if conditions.told is not None:
            told = conditions.told.to(device, dtype)[:, :, None].expand(-1, -1, channels.shape[2], -1, -1)
            channels = torch.cat([channels, told], dim=1)
        audio = self.windows(segment).to(device, dtype)  # [B, P, F, W, S, C]
        silence = torch.zeros_like(audio[:, :1])
        directed = conditions.directed.get(segment.index, Directed(conditions.prompt))
        prompt = directed.prompts.to(device, dtype)
        regions = None if directed.regions is None else directed.regions.to(device)
        image = conditions.image
        if image is not None and before is not None and self.encode_last_frame is not None:
            image = self.encode_last_frame(before.motion.frames[:, :, -1])

        def predict(branch: Branch, latents: Tensor, timestep: Tensor) -> Tensor:
            with transformer.cache_context(branch.name):
                output = transformer(
                    hidden_states=torch.cat([latents.to(dtype), channels], dim=1),  # [B, z + c, T, h, w]
                    timestep=timestep,
                    encoder_hidden_states=prompt if branch.text else conditions.negative,
                    encoder_hidden_states_image=image,
                    audio_hidden_states=audio if branch.audio else silence,
                    person_masks=conditions.masks if branch.audio else None,
                    text_masks=regions if branch.text else None,
                    return_dict=False,
                )[0].float()
            if self.prediction == "velocity":
                return output
            output = clip_sample(output, self.limits)
            return (latents - output) * (NOISE_RANGE / timestep).view(-1, 1, 1, 1, 1)

        return predict

    def windows(self, segment: Segment) -> Tensor:
        """Audio windows of a segment at their place in the whole tracks, so that they see across its borders.

        Returns:
            ``[B, P, F, W, S, C]``.
        """
        window = int(self.transformer.config.audio_window)
        first = max(segment.start - window // 2, 0)
        last = segment.start + segment.num_frames + window // 2
        start = segment.start - first

        def windows_of(track: FeatureTrack) -> Tensor:
            return window_audio(track.frames(first, last), window, start, start + segment.num_frames)

        tracks = self.conditions.tracks
        return torch.stack([torch.stack([windows_of(track) for track in sample]) for sample in tracks])
