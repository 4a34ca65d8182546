"""Which samples a training step sees, and where its chance comes from.

Every random choice is a function of (seed, purpose, counters), never of a generator that runs along. So a batch depends
only on the step's number: a resumed run sees the very same batches, and n processes see together what one process
would. The only state is [`OrderState`], a place in the shuffled data.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from talkies.domain.errors import InputError
from talkies.training.shards import CachedSample, LatentCache


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
