"""Composites in batches: stacked, their boxes turned into loss weights, composed by as many processes as there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import count

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.optical_flow import resized
from talkies.training.composites import Composer, Composite


@dataclass(frozen=True)
class Batch:
    """Composites, stacked; `weight` is the loss weight of every pixel."""

    group: Tensor  # [N, 4, 3, S, S]
    reference: Tensor  # [N, 3, S, S]
    weight: Tensor  # [N, 4, 1, S, S]
    faces: Tensor  # [N, 4, 10, s/16, s/16]
    flow: Tensor  # [N, 4, 2, s, s]
    points: Tensor  # [N, 1, 5, 2]
    expression: Tensor  # [N, 5, 8]
    mouth: Tensor  # [N, 4, 4]
    eyes: Tensor  # [N, 4, 4]

    def to(self, device: torch.device) -> Batch:
        """A copy on `device`, in float32."""
        return Batch(*(getattr(self, part.name).to(device, torch.float32) for part in fields(self)))

    def small(self) -> tuple[Tensor, Tensor]:
        """Group and reference at the size at which motion is told, `[N, 4, 3, s, s]` and `[N, 3, s, s]`."""
        side = self.flow.shape[-1]
        return resized(self.group, side, side), resized(self.reference, side, side)

    def latents(self, model: AutoencoderReference) -> Tensor:
        """`[N, z, s/16, s/16]`."""
        return model.encode_groups(*self.small(), self.flow, self.faces)

    def cell_weight(self) -> Tensor:
        """Mean loss weight of every cell in the frame where it weighs most, `[N, s/16, s/16]`."""
        return F.avg_pool2d(self.weight.amax(1), self.weight.shape[-1] // self.faces.shape[-1])[:, 0]


def collate(draws: list[Composite], mouth_weight: float, face_weight: float, eye_weight: float = 1.0) -> Batch:
    """Stacks draws and turns their boxes into loss weights."""
    size = draws[0].reference.shape[-1]
    weight = torch.ones(len(draws), 4, 1, size, size)
    for n, draw in enumerate(draws):
        for k in range(4):
            boxes = (
                (draw.face[k], face_weight, 2),
                (draw.eyes[k], max(eye_weight, face_weight), 0),
                (draw.mouth[k], mouth_weight, 4),
            )
            for box, value, margin in boxes:
                x0, y0 = (max(0, int(v) - margin) for v in box[:2])
                x1, y1 = (max(0, int(v) + margin + 1) for v in box[2:])
                weight[n, k, 0, y0:y1, x0:x1] = value

    def stack(name: str) -> Tensor:
        return torch.stack([torch.from_numpy(np.asarray(getattr(draw, name), np.float32)) for draw in draws])

    names = ("faces", "flow", "points", "expression", "mouth", "eyes")
    return Batch(stack("group"), stack("reference"), weight, *(stack(name) for name in names))


class CompositeBatches(Dataset[Batch]):
    """Batches by number: each is a function of the seed and its number alone.

    Args:
        composer: Draws the composites.
        size: Composites to a batch.
        weights: Loss weights of mouths, faces and eyes.
        seed: Of everything.
    """

    def __init__(self, composer: Composer, size: int, weights: tuple[float, float, float], seed: int) -> None:
        self._composer, self._size, self._weights, self._seed = composer, size, weights, seed

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`."""
        rng = np.random.default_rng([self._seed, number])
        return _half(collate([self._composer.draw(rng) for _ in range(self._size)], *self._weights))

    def walk(self, first: int, workers: int) -> Iterator[Batch]:
        """Without end, in order, from batch `first` on; composed by so many processes, or here if there are none."""
        loader = DataLoader(
            self, batch_size=None, sampler=count(first), num_workers=workers, worker_init_fn=_one_thread
        )
        return iter(loader)


def _half(batch: Batch) -> Batch:
    """Pictures with half the bits: what passes between processes is copied twice."""
    return replace(batch, group=batch.group.half(), reference=batch.reference.half(), weight=batch.weight.half())


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)  # torch's workers have one of torch's already
