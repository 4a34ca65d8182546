"""The long-video loop: segment after segment, each continuing the one before and anchored on the reference image.

Nothing here knows which network or which autoencoder is used; both come in as protocols. Memory does not depend on
the length of the video: a segment's frames are handed out and forgotten, but for the motion frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from talkies.domain.clip import TEMPORAL_STRIDE
from talkies.domain.errors import InputError, NumericalError
from talkies.sampling.anchoring import match_colours
from talkies.sampling.denoise import Predict, denoise
from talkies.sampling.guidance import Guider
from talkies.sampling.noise import draw_noise
from talkies.sampling.schedule import add_noise
from talkies.sampling.segments import Segment, SegmentPlan
from talkies.sampling.solver import Solver


@dataclass(frozen=True)
class RolloutSettings:
    """How one segment follows the other.

    Args:
        hand_over: "pixels": motion frames are decoded and encoded again (the authors' way). "latents": the latents go
            straight over; only the clip's first latent frame, which stands for one frame instead of four, is encoded.
        known_latents: What the loop puts in place of the motion frames before and after every step: "renoised" to the
            step's level (the authors' way) or "clean".
        latent_sink: Puts the reference in the place of the first motion frame, so that every segment starts from it as
            the first does, and people are found in the very picture their regions were drawn in.
        colour_strength: Share of the correction of colours towards the reference, in [0, 1].
        colour_feedback: Whether corrected frames are also what the next segment continues ("pixels" only).
    """

    hand_over: Literal["latents", "pixels"] = "latents"
    known_latents: Literal["renoised", "clean"] = "renoised"
    latent_sink: bool = False
    colour_strength: float = 0.0
    colour_feedback: bool = False

    def __post_init__(self) -> None:
        if self.hand_over not in ("latents", "pixels"):
            raise InputError(f"Hand-over {self.hand_over!r} is unknown.", "Use latents or pixels.")
        if self.known_latents not in ("renoised", "clean"):
            raise InputError(f"known_latents {self.known_latents!r} is unknown.", "Use renoised or clean.")
        if not 0 <= self.colour_strength <= 1:
            raise InputError(f"The colour strength is {self.colour_strength}.", "Use a number from 0 to 1.")
        if self.colour_feedback and self.hand_over == "latents":
            raise InputError("Colour feedback needs pixels: latents are not corrected.", "Use hand_over pixels.")


@dataclass(frozen=True, eq=False)
class Condition:
    """What a segment's frames are generated from.

    Attributes:
        channels: Appended to the noisy latents, ``[B, c, T, h, w]``.
        known: Latents of the frames that are given, ``[B, z, K, h, w]``.
    """

    channels: Tensor
    known: Tensor


@dataclass(frozen=True, eq=False)
class Clip:
    """Some frames of the video.

    Attributes:
        frames: ``[B, 3, F, H, W]`` in [-1, 1], float32.
        flow: What an autoencoder that warps the reference knows besides: where in it each pixel comes from,
            ``[B, 2, F, H, W]`` in pixels. None for others.
    """

    frames: Tensor
    flow: Tensor | None = None

    def __len__(self) -> int:
        return self.frames.shape[2]

    def part(self, start: int, stop: int | None = None) -> Clip:
        """Frames ``start`` to ``stop``."""
        flow = None if self.flow is None else self.flow[:, :, start:stop].clone()
        return Clip(self.frames[:, :, start:stop].clone(), flow)

    def then(self, other: Clip) -> Clip:
        """These frames, then the other's."""
        flow = None
        if self.flow is not None and other.flow is not None:
            flow = torch.cat([self.flow, other.flow.to(self.flow)], dim=2)
        return Clip(torch.cat([self.frames, other.frames.to(self.frames)], dim=2), flow)


class Conditioning(Protocol):
    """A video autoencoder with this run's reference frame; latents are normalised to unit scale."""

    reference: Tensor
    """``[B, 3, H, W]`` in [-1, 1], float32."""
    still: Clip
    """The reference as a clip of one frame."""

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        """``(z, T, h, w)`` of one sample."""
        ...

    def encode(self, clip: Clip) -> Tensor:
        """F = 4(T-1)+1 frames -> ``[B, z, T, h, w]`` float32."""
        ...

    def prepare(self, given: Clip, latent_frames: int, known: Tensor | None = None) -> Condition:
        """The condition of a clip that begins with the 4K-3 frames ``given``; ``known`` replaces their latents."""
        ...

    def decode(self, latents: Tensor, start: int = 0) -> Clip:
        """``[B, z, T, h, w]`` -> 4(T-1)+1 frames on the CPU, the first of them the video's frame ``start``."""
        ...


@dataclass(frozen=True, eq=False)
class HandOver:
    """What one segment leaves to the next, on the CPU.

    Attributes:
        motion: Its last ``motion_frames`` frames.
        latents: The latent frames of all of them but the first, ``[B, z, (M-1)/4, h, w]``.
    """

    motion: Clip
    latents: Tensor


@dataclass(frozen=True, eq=False)
class RenderedSegment:
    """A finished segment.

    Attributes:
        segment: Its place in the plan.
        frames: The frames it adds to the video, ``[B, 3, kept_frames, H, W]`` in [-1, 1], float32 on the CPU.
        latents: All of its latents, ``[B, z, T, h, w]``, motion frames included.
        hand_over: For the next segment; None after the last.
    """

    segment: Segment
    frames: Tensor
    latents: Tensor
    hand_over: HandOver | None


PredictSegment = Callable[[Segment, Condition, HandOver | None], Predict]
"""Makes the network call of one segment (its audio, its condition)."""

StepDone = Callable[[Segment, int, Tensor], Tensor]
"""``step_done(segment, step, latents) -> latents``: progress and callbacks."""


class Rollout:
    """Renders the segments of a plan in order.

    Args:
        plan: The segments.
        conditioning: The autoencoder with the reference.
        predict: Makes each segment's network call.
        make_solver: Makes the solver of one segment (solvers may have a history).
        guiders: Guidance of each segment, by its index.
        generators: One CPU generator per sample of the batch, or one for all.
        settings: How one segment follows the other.
        step_done: Called after every step.
    """

    def __init__(
        self,
        plan: SegmentPlan,
        conditioning: Conditioning,
        predict: PredictSegment,
        make_solver: Callable[[], Solver],
        guiders: Sequence[Guider],
        generators: Sequence[torch.Generator],
        settings: RolloutSettings,
        step_done: StepDone | None = None,
    ) -> None:
        if settings.latent_sink and plan.motion_frames == 1 and len(plan.segments) > 1:
            raise InputError(
                "A latent sink takes the place of the only motion frame: nothing would join the segments.",
                "Use at least 5 motion frames.",
            )
        self.plan = plan
        self._conditioning = conditioning
        self._predict = predict
        self._make_solver = make_solver
        self._guiders = guiders
        self._generators = generators
        self._settings = settings
        self._step_done = step_done

    def run(self, first: int = 0, hand_over: HandOver | None = None) -> Iterator[RenderedSegment]:
        """Renders segment ``first`` and those after it.

        Args:
            first: 0, or the segment after the one that left ``hand_over``.
            hand_over: What the segment before left; None for the first segment.

        Raises:
            NumericalError: A NaN or infinity appeared; names segment and step.
        """
        for segment in self.plan.segments[first:]:
            try:
                rendered = self._render(segment, hand_over)
            except NumericalError as error:
                place = f"segment {segment.index + 1} of {len(self.plan.segments)} (frames {segment.start} on)"
                raise NumericalError(f"In {place}: {error.args[0]}", error.hint) from None
            hand_over = rendered.hand_over
            yield rendered

    @torch.no_grad()
    def _render(self, segment: Segment, before: HandOver | None) -> RenderedSegment:
        condition = self._condition(segment, before)
        shape = self._conditioning.latent_shape(segment.latent_frames)
        device = condition.channels.device
        solver = self._make_solver()
        latents = self._noise(shape, device)
        # The first segment's reference is left to the network, as in image-to-video; motion frames are put back.
        known = condition.known if before is not None else None
        latents = self._put_back(latents, known, solver.levels[0])

        def after_step(index: int, latents: Tensor) -> Tensor:
            latents = self._put_back(latents, known, solver.levels[index + 1])
            return latents if self._step_done is None else self._step_done(segment, index, latents)

        predict = self._predict(segment, condition, before)
        latents = denoise(predict, latents, solver, self._guiders[segment.index], after_step)
        clip = self._decode(latents, before, segment.start)
        if not torch.isfinite(clip.frames.sum(dtype=torch.float64)):
            raise NumericalError("The decoded frames are not finite.", "Try dtype float32 for the autoencoder.")
        return self._finish(segment, latents, clip)

    def _condition(self, segment: Segment, before: HandOver | None) -> Condition:
        conditioning = self._conditioning
        if before is None:
            return conditioning.prepare(conditioning.still, segment.latent_frames)
        first = before.motion.part(0, 1)
        if self._settings.latent_sink:
            first = conditioning.still
        given = first.then(before.motion.part(1))
        known = None
        if self._settings.hand_over == "latents":
            encoded = conditioning.encode(first)  # [B, z, 1, h, w]
            known = torch.cat([encoded, before.latents.to(encoded.device)], dim=2)
        return conditioning.prepare(given, segment.latent_frames, known)

    def _noise(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """``[B, *shape]``; a sample's noise does not depend on the batch it is in, if it has its own generator."""
        batch = self._conditioning.reference.shape[0]
        if len(self._generators) == 1:
            return draw_noise((batch, *shape), self._generators[0], device)
        return torch.stack([draw_noise(shape, generator, device) for generator in self._generators])

    def _put_back(self, latents: Tensor, known: Tensor | None, level: Tensor) -> Tensor:
        """Latents with the known frames at ``level``. Noise is drawn at level 0 too: seeds give the authors' noise."""
        if known is None:
            return latents
        if self._settings.known_latents == "renoised":
            known = add_noise(known, self._noise(tuple(known.shape[1:]), known.device), level.to(known.device))
        return torch.cat([known.to(latents.dtype), latents[:, :, known.shape[2] :]], dim=2)

    def _decode(self, latents: Tensor, before: HandOver | None, start: int) -> Clip:
        if before is not None and self._settings.latent_sink:
            # A causal decoder must not see a cut where the sink meets the motion frames.
            first = self._conditioning.encode(before.motion.part(0, 1))
            latents = torch.cat([first.to(latents.dtype), latents[:, :, 1:]], dim=2)
        return self._conditioning.decode(latents, start)

    def _finish(self, segment: Segment, latents: Tensor, clip: Clip) -> RenderedSegment:
        reference = self._conditioning.reference.to(clip.frames.device)
        anchored = match_colours(clip.frames, reference, self._settings.colour_strength)
        kept = anchored[:, :, segment.motion_frames : segment.motion_frames + segment.kept_frames]
        hand_over = None
        if segment.index + 1 < len(self.plan.segments):
            source = Clip(anchored, clip.flow) if self._settings.colour_feedback else clip
            latent_count = (self.plan.motion_frames - 1) // TEMPORAL_STRIDE
            hand_over = HandOver(
                source.part(len(source) - self.plan.motion_frames),
                latents[:, :, latents.shape[2] - latent_count :].cpu().clone(),
            )
        return RenderedSegment(segment, kept, latents, hand_over)
