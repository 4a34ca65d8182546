"""From cached samples to what one training step sees: order, noise, tasks, dropout, motion prefixes.

Every random choice is a function of (seed, purpose, counters), never of a generator that runs along. So a batch depends
only on the step's number: a resumed run sees the very same batches, and n processes see together what one process
would. The only state is [`OrderState`], a place in the shuffled data.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talkies.domain.errors import InputError
from talkies.models.audio_adapter import window_audio
from talkies.sampling.denoise import clip_sample
from talkies.training.config import ConditionSection, HearingSection, TimestepSection
from talkies.training.shards import FRAMES_PER_LATENT, CachedSample, LatentCache

MASK_CHANNELS = 4  # Wan's mask has one channel per video frame of a latent frame


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator for one purpose, e.g. `generator(seed, "noise", step, slot)`."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@dataclass(frozen=True)
class OrderState:
    """A place in the data: the next batch is number `position` of pass `epoch` over the first `count` samples."""

    epoch: int = 0
    position: int = 0
    count: int = 0


class SampleSource(Protocol):
    """Where samples come from: a cache, or something that composes them without end.

    Attributes:
        context: Audio frames on either side of every clip.
        null_prompt: The empty prompt, `[L, D]` embeddings or `[L]` ids.
    """

    context: int
    null_prompt: Tensor

    def __getitem__(self, number: int) -> CachedSample:
        """The sample of this number: the same at every call."""

    def walk(self, state: OrderState, batch_size: int, seed: int) -> Iterator[tuple[list[int], OrderState]]:
        """Endless batches of numbers from `state` on, each with the state after it. Samples of a batch have equal
        shapes. An endless source may leave `epoch` at 0 and count batches in `position`."""


class ShuffledCache:
    """A latent cache in shuffled order.

    Every sample is seen at least once per pass; the last batch of each shape is filled up with samples of the same
    shape. New samples in the cache are taken in when a pass begins.

    Args:
        cache: Where the samples are.
    """

    def __init__(self, cache: LatentCache) -> None:
        self._cache = cache
        self.context = cache.context
        self.null_prompt = cache.null_prompt

    def __getitem__(self, number: int) -> CachedSample:
        """A sample of the cache."""
        return self._cache[number]

    def batches(self, epoch: int, count: int, batch_size: int, seed: int) -> list[list[int]]:
        """All batches of a pass over the first `count` samples."""
        random = generator(seed, "order", epoch)
        groups: dict[object, list[int]] = defaultdict(list)
        for number in torch.randperm(count, generator=random).tolist():
            groups[self._cache.entry(number).shapes].append(number)
        found = []
        for group in groups.values():
            for start in range(0, len(group), batch_size):
                batch = group[start : start + batch_size]
                found.append([*batch, *(group[i % len(group)] for i in range(batch_size - len(batch)))])
        return [found[i] for i in torch.randperm(len(found), generator=random).tolist()]

    def walk(self, state: OrderState, batch_size: int, seed: int) -> Iterator[tuple[list[int], OrderState]]:
        """Batches from `state` on, each with the state after it.

        Raises:
            InputError: The cache has lost samples since the state was saved.
        """
        epoch, position, count = state.epoch, state.position, state.count
        if count > len(self._cache):
            raise InputError(f"The run was on pass {epoch} over {count} samples; the cache holds {len(self._cache)}.")
        while True:
            if position == 0:
                count = self._cache.refresh()
            batches = self.batches(epoch, count, batch_size, seed)
            for number in range(position, len(batches)):
                last = number + 1 == len(batches)
                yield batches[number], OrderState(epoch + last, 0 if last else number + 1, count)
            epoch, position = epoch + 1, 0


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


@dataclass(frozen=True)
class _Draws(Dataset[Batch]):
    """Batches by what they are drawn from, so that worker processes can build them."""

    builder: BatchBuilder
    rank: int
    world: int

    def __getitem__(self, drawn: tuple[int, list[int]]) -> Batch:
        draw, numbers = drawn
        return self.builder.build(numbers, draw, self.rank, self.world)


@dataclass(frozen=True)
class Delivery:
    """A batch, and the place in the data after it."""

    batch: Batch
    state: OrderState


class BatchLoader:
    """Prepares batches in a background thread, or in processes.

    Args:
        order: Numbers of the samples of each batch, from a source's `walk`, with the place in the data after it.
        builder: Draws the batches.
        draws: Batches built before (step * accumulation).
        prefetch: Batches kept ready.
        workers: Processes that build them; 0: a thread does.
        rank: This process.
        world: Number of processes.

    Errors are raised by the next [`next`][talkies.training.batches.BatchLoader.next].
    """

    def __init__(
        self,
        order: Iterator[tuple[list[int], OrderState]],
        builder: BatchBuilder,
        *,
        draws: int,
        prefetch: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._order = enumerate(order, start=draws)
        self._draws = _Draws(builder, rank, world)
        self._prefetch, self._workers = prefetch, workers
        self._built: Iterator[Batch] | None = None
        self._places: deque[OrderState] = deque()
        self._queue: queue.Queue[Delivery | BaseException] = queue.Queue(maxsize=prefetch)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="talkies-batches", daemon=True)
        if not workers:
            self._thread.start()

    def _work(self) -> None:
        try:
            for draw, (numbers, after) in self._order:
                if not self._offer(Delivery(self._draws[draw, numbers], after)):
                    return
        except Exception as error:
            self._offer(error)

    def _asked(self) -> Iterator[tuple[int, list[int]]]:
        for draw, (numbers, after) in self._order:
            self._places.append(after)
            yield draw, numbers

    def _built_by_workers(self) -> Iterator[Batch]:
        return iter(
            DataLoader(
                self._draws,
                batch_size=None,
                sampler=self._asked(),  # type: ignore[arg-type]  # any iterable will do
                num_workers=self._workers,
                prefetch_factor=-(-self._prefetch // self._workers),
            )
        )

    def _offer(self, item: Delivery | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def next(self) -> Delivery:
        """The next batch; waits for it."""
        if self._workers:
            if self._built is None:
                self._built = self._built_by_workers()
            return Delivery(next(self._built), self._places.popleft())
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stops thread and workers."""
        self._closed.set()
        self._built = None
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
