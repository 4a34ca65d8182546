"""From cached samples to what one training step sees: noise, tasks, dropout, motion prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from talkies.domain.errors import InputError
from talkies.models.audio_adapter import window_audio
from talkies.sampling.denoise import clip_sample
from talkies.training.config import ConditionSection, HearingSection, TimestepSection
from talkies.training.order import SampleSource, generator
from talkies.training.shards import FRAMES_PER_LATENT, CachedSample

MASK_CHANNELS = 4  # Wan's mask has one channel per video frame of a latent frame


@dataclass(frozen=True)
class Batch:
    """One forward pass, everything drawn.

    Attributes:
        latents: Clean latents `[B, z, T, h, w]`.
        noise: `[B, z, T, h, w]`.
        sigma: Noise level of each sample in (0, 1], `[B]`.
        known: What the network is told of the clip `[B, z, T, h, w]`: clean latents of the given frames, then `known`
            of the cache or zeros.
        known_mask: 1 in given latent frames, `[B, T]`.
        weight: Loss weight of each cell `[B, T, h, w]`, at least 1.
        loss_weight: Factor on each sample's loss `[B]`.
        prompt: Embeddings `[B, L, D]`, or ids `[B, L]` for a text encoder in training; `[B, P + 1, L, D]` or
            `[B, P + 1, L]` where every region reads its own.
        condition: Reference features `[B, c, T, h, w]`, or None.
        audio: Windows `[B, P, F, W, S, C]`; `[B, 1, F, W, S, C]` zeros where audio is dropped.
        person_masks: `[B, P + 1, h, w]`, None where audio is dropped.
        text_masks: `[B, P + 1, h, w]`, None where all regions read the same.
        image_embeds: `[B, L, D]`, or None.
    """

    latents: Tensor
    noise: Tensor
    sigma: Tensor
    known: Tensor
    known_mask: Tensor
    weight: Tensor
    loss_weight: Tensor
    prompt: Tensor
    condition: Tensor | None
    audio: Tensor
    person_masks: Tensor | None
    text_masks: Tensor | None
    image_embeds: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """A copy on `device`; the same object when it is there already."""
        if self.latents.device == device:
            return self
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: value.to(device) for name, value in values.items() if value is not None}
        return replace(self, **moved)

    def noisy(self) -> Tensor:
        """`x_t = (1 - sigma) x_0 + sigma noise`, `[B, z, T, h, w]`."""
        return torch.lerp(self.latents, self.noise, self.sigma.view(-1, 1, 1, 1, 1))

    def hidden_states(self) -> Tensor:
        """The transformer's input: noisy latents, mask, known latents, reference features along channels."""
        return assemble_hidden_states(self.noisy(), self.known_mask, self.known, self.condition)


def assemble_hidden_states(noisy: Tensor, known_mask: Tensor, known: Tensor, condition: Tensor | None) -> Tensor:
    """Concatenates along channels: noisy latents z, mask 4, known latents z, reference features c.

    Args:
        noisy: `[B, z, T, h, w]`.
        known_mask: `[B, T]`, 1 in given latent frames.
        known: `[B, z, T, h, w]`.
        condition: `[B, c, T, h, w]` or None.
    """
    B, _, T, H, W = noisy.shape
    mask = known_mask.to(noisy.dtype).view(B, 1, T, 1, 1).expand(B, MASK_CHANNELS, T, H, W)
    parts = [noisy, mask, known] if condition is None else [noisy, mask, known, condition]
    return torch.cat(parts, dim=1)  # [B, z + 4 + z + c, T, h, w]


def draw_sigmas(count: int, timesteps: TimestepSection, random: torch.Generator) -> Tensor:
    """Noise levels `[count]`; draws are stratified over the batch, which lowers the variance of its loss."""
    u = (torch.randperm(count, generator=random) + torch.rand(count, generator=random)) / count
    if timesteps.distribution == "logit_normal":
        u = torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)).sigmoid()
    sigma = timesteps.shift * u / (1 + (timesteps.shift - 1) * u)
    at_noise = torch.rand(count, generator=random) < timesteps.noise_share
    return sigma.clamp(timesteps.minimum, timesteps.maximum).masked_fill(at_noise, timesteps.maximum)


def collate(samples: list[CachedSample], context: int, window: int, latent_frames: int | None) -> Batch:
    """Stacks samples of equal shapes, with the first frame given, sigma 1 and no noise: a batch still to be drawn.

    Args:
        samples: Clips of equal shapes.
        context: Audio context of the cache.
        window: Audio frames per window.
        latent_frames: Cut each clip to this many latent frames, or None.
    """

    def stack(name: str) -> Tensor | None:
        parts = [getattr(sample, name) for sample in samples]
        return None if parts[0] is None else torch.stack(parts)

    latents = torch.stack([sample.latents for sample in samples]).float()  # [B, z, T, h, w]
    T = latents.shape[2] if latent_frames is None else min(latent_frames, latents.shape[2])
    latents = latents[:, :, :T]
    B, _, _, H, W = latents.shape
    known, weight, condition, audio = stack("known"), stack("weight"), stack("condition"), stack("audio")
    known = torch.zeros_like(latents) if known is None else known[:, :, :T].float()
    weight = torch.ones(B, T, H, W) if weight is None else weight[:, :T].float()
    if condition is not None:
        condition = condition.float()
        condition = condition[:, :, :T] if condition.ndim == 5 else condition[:, :, None].expand(-1, -1, T, -1, -1)
    frames = FRAMES_PER_LATENT * (T - 1) + 1
    if audio is None:
        raise InputError(f"Sample {samples[0].id} has no audio field.", "Store silence for footage without sound.")
    if window // 2 > context:
        raise InputError(f"An audio window of {window} frames does not fit a cache with {context} frames of context.")
    audio = window_audio(audio.float(), window, context, context + frames)  # [B, P, F, W, S, C]
    prompt = stack("prompt_embeds") if samples[0].prompt_embeds is not None else stack("prompt_ids")
    assert prompt is not None  # the writer asks for one of the two  # noqa: S101
    image_embeds = stack("image_embeds")
    known_mask = torch.zeros(B, T)
    person_masks = stack("person_masks").float()  # type: ignore[union-attr]
    by_region = samples[0].reads_by_region
    return give_frames(
        Batch(
            latents=latents,
            noise=torch.zeros_like(latents),
            sigma=torch.ones(B),
            known=known,
            known_mask=known_mask,
            weight=weight,
            loss_weight=torch.tensor([sample.loss_weight for sample in samples]),
            prompt=prompt if prompt.dtype == torch.int64 else prompt.float(),
            condition=condition,
            audio=audio,
            person_masks=person_masks,
            text_masks=person_masks if by_region else None,
            image_embeds=None if image_embeds is None else image_embeds.float(),
        ),
        torch.ones(B, dtype=torch.int64),
    )


def give_frames(batch: Batch, counts: Tensor, disturbance: Tensor | None = None, scale: Tensor | None = None) -> Batch:
    """Marks the first `counts[b]` latent frames as known and copies their clean latents into `known`.

    Args:
        batch: A batch.
        counts: `[B]`, at least 1.
        disturbance: `[B, z, T, h, w]` added to given frames after the first, or None.
        scale: `[B]`, by which given frames are multiplied where more than one is given, or None.
    """
    given = torch.arange(batch.latents.shape[2])[None] < counts[:, None]  # [B, T]
    clean = batch.latents
    if scale is not None:
        clean = clean * torch.where(counts > 1, scale, 1.0).view(-1, 1, 1, 1, 1)
    if disturbance is not None:
        clean = torch.cat([clean[:, :, :1], (clean + disturbance)[:, :, 1:]], dim=2)
    known = torch.where(given[:, None, :, None, None], clean, batch.known)
    return replace(batch, known=known, known_mask=given.float())


def disturb_audio(audio: Tensor, hearing: HearingSection, random: torch.Generator) -> Tensor:
    """Features `[P, F, S, C]` as somebody else's voice might give them; every person's differently."""
    P, *_, C = audio.shape
    gain, bias = hearing.voice * torch.randn(2, P, 1, 1, C, generator=random)
    noise = hearing.noise * torch.rand(P, 1, 1, 1, generator=random) * torch.randn(audio.shape, generator=random)
    kept = torch.rand(P, 1, 1, C, generator=random) >= hearing.dropped
    return (audio.float() * gain.exp() + bias + noise) * kept


def drop_audio(batch: Batch) -> Batch:
    """The audio-free branch exactly as the sampler runs it: one all-zero stream and no person map."""
    return replace(batch, audio=torch.zeros_like(batch.audio[:, :1]), person_masks=None)


def drop_text(batch: Batch, dropped: Tensor, null_prompt: Tensor) -> Batch:
    """Gives the empty prompt `[L, D]` or `[L]` to all regions of the samples marked in `dropped [B]`."""
    if null_prompt.shape != batch.prompt.shape[-null_prompt.ndim :]:
        raise InputError(
            f"The empty prompt has shape {list(null_prompt.shape)}, prompts have {list(batch.prompt.shape[1:])}.",
            "Pad all prompts of a cache to one length.",
        )
    marked = dropped.view(-1, *[1] * (batch.prompt.ndim - 1))
    return replace(batch, prompt=torch.where(marked, null_prompt.to(batch.prompt.dtype), batch.prompt))


class BatchBuilder:
    """Draws everything random of a batch.

    Args:
        source: Samples.
        window: Audio frames per window, the model's.
        condition: Tasks and dropout.
        timesteps: Noise levels.
        latent_frames: Cut to this many latent frames, or None.
        limits: Of the latents, as `clip_sample` takes them.
        seed: The run's seed.
    """

    def __init__(
        self,
        source: SampleSource,
        *,
        window: int,
        condition: ConditionSection,
        timesteps: TimestepSection,
        latent_frames: int | None,
        limits: Sequence[tuple[int, int, float]] = (),
        seed: int,
    ) -> None:
        self._source = source
        self._window = window
        self._condition = condition
        self._timesteps = timesteps
        self._latent_frames = latent_frames
        self._limits = limits
        self._seed = seed

    def build(self, numbers: list[int], draw: int, rank: int = 0, world: int = 1) -> Batch:
        """Batch number `draw` of the run, of which this process takes every `world`-th sample from `rank` on.

        The task is one for the whole batch, since the audio-free branch runs without person map; text dropout, noise
        and prefixes are drawn per sample.
        """
        random = generator(self._seed, "batch", draw)
        size = len(numbers)
        sigma = draw_sigmas(size, self._timesteps, random)
        task, *_ = torch.rand(1, generator=random).tolist()
        text_dropped = torch.rand(size, generator=random) < self._condition.drop_text
        prefix = self._condition.prefix
        longer = torch.rand(size, generator=random) < prefix.probability
        choice = torch.randint(len(prefix.latent_frames), (size,), generator=random)
        counts = torch.where(longer, torch.tensor(prefix.latent_frames)[choice], 1)

        mine = torch.arange(rank, size, world)
        samples = [self._source[numbers[slot]] for slot in mine.tolist()]
        samples = [self._heard(sample, draw, slot) for sample, slot in zip(samples, mine.tolist(), strict=True)]
        batch = collate(samples, self._source.context, self._window, self._latent_frames)
        shape = batch.latents.shape[1:]
        noise = [torch.randn(shape, generator=generator(self._seed, "noise", draw, slot)) for slot in mine.tolist()]
        latents = clip_sample(batch.latents, self._limits)
        batch = replace(batch, latents=latents, noise=torch.stack(noise), sigma=sigma[mine])
        disturbance, scale = None, None
        if prefix.noise:
            level = prefix.noise * torch.rand(size, generator=random)[mine].view(-1, 1, 1, 1, 1)
            extra = [
                torch.randn(shape, generator=generator(self._seed, "prefix", draw, slot)) for slot in mine.tolist()
            ]
            disturbance = level * torch.stack(extra)
        if prefix.scale:
            scale = 1 + prefix.scale * (2 * torch.rand(size, generator=random)[mine] - 1)
        # at least one frame stays to be generated
        batch = give_frames(batch, counts[mine].clamp(max=batch.latents.shape[2] - 1), disturbance, scale)
        if task < self._condition.drop_text_and_audio:
            return drop_text(drop_audio(batch), torch.ones(len(samples), dtype=torch.bool), self._source.null_prompt)
        if task < self._condition.drop_text_and_audio + self._condition.image_to_video:
            return drop_audio(batch)
        return drop_text(batch, text_dropped[mine], self._source.null_prompt)

    def _heard(self, sample: CachedSample, draw: int, slot: int) -> CachedSample:
        hearing = self._condition.hearing
        if sample.audio is None or not (hearing.noise or hearing.voice or hearing.dropped):
            return sample
        random = generator(self._seed, "hearing", draw, slot)
        return replace(sample, audio=disturb_audio(sample.audio, hearing, random))
