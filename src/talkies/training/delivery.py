"""Batches ahead of the step that needs them: built by a thread, or by worker processes."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch.utils.data import DataLoader, Dataset

from talkies.training.batches import Batch, BatchBuilder
from talkies.training.order import OrderState


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

    Errors are raised by the next [`next`][talkies.training.delivery.BatchLoader.next].
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
