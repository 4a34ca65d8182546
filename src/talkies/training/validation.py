"""The probe: does the right voice explain the lips, and no other?

On clips never trained on, the clean latents are predicted from one noise level; what is left of the lips' motion is
compared for the clip's own audio, another clip's, and the same audio with the people exchanged. A model that listens
leaves less with its own audio; one that binds voices to people leaves more after the exchange.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from talkies.training.batches import Batch, collate
from talkies.training.config import ObjectiveSection
from talkies.training.objectives import denoised
from talkies.training.order import generator
from talkies.training.shards import LatentCache
from talkies.training.system import TrainingSystem

SIGMAS = (0.999, 0.7)


def probe_batches(
    cache: LatentCache, *, window: int, latent_frames: int | None, samples: int, size: int
) -> list[Batch]:
    """Fixed batches: the first `samples` of the cache, grouped by shape, noise still to be drawn.

    Args:
        cache: Validation samples.
        window: Audio frames per window.
        latent_frames: Cut to this many latent frames, or None.
        samples: At most this many.
        size: Samples per batch.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for number in range(min(samples, len(cache))):
        groups[cache.entry(number).shapes].append(number)
    return [
        collate([cache[number] for number in group[start : start + size]], cache.context, window, latent_frames)
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


def _audios(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    yield "right", batch.audio
    if batch.audio.shape[0] > 1:
        yield "shuffled", batch.audio.roll(1, dims=0)
    if batch.audio.shape[1] > 1:
        yield "exchanged", batch.audio.flip(1)


def lip_energy(error: Tensor, batch: Batch) -> Tensor:
    """Energy `[B, z, T, h, w]` summed over cells, weighed by cached weight - 1 (all alike without lip weights), over
    the frames that are not given."""
    weight = batch.weight - 1
    if not weight.any():
        weight = torch.ones_like(weight)
    weight = weight * (1 - batch.known_mask)[:, :, None, None]
    return (error.square().sum(dim=1) * weight).sum()


@torch.no_grad()
def run_probe(
    system: TrainingSystem, batches: list[Batch], objective: ObjectiveSection, bf16: bool, seed: int
) -> dict[str, float]:
    """Residual energy on lips relative to each clip's own motion around its mean: 0 perfect, 1 no better than a still.

    Args:
        system: In evaluation mode afterwards put back to training mode.
        batches: From `probe_batches`.
        objective: Meaning of the network's output.
        bf16: Computed under autocast to it.
        seed: Of the noise, the same at every probe.

    Returns:
        E.g. `{"right@0.999": 0.61, "shuffled@0.999": 0.93, ...}`.
    """
    device = next(system.parameters()).device
    left: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    system.eval()
    for sigma in SIGMAS:
        for number, clean in enumerate(batches):
            noise = torch.randn(clean.latents.shape, generator=generator(seed, "probe", number, str(sigma)))
            level = torch.full_like(clean.sigma, sigma)
            batch = replace(clean, noise=noise, sigma=level).to(device)
            motion = batch.latents - batch.latents[:, :, 1:].mean(dim=2, keepdim=True)
            for name, audio in _audios(batch):
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    output = system(batch, audio)
                error = denoised(output.float(), batch.noisy(), batch.sigma, objective.prediction) - batch.latents
                left[f"{name}@{sigma}"] += float(lip_energy(error, batch))
                total[f"{name}@{sigma}"] += float(lip_energy(motion, batch))
    system.train()
    return {name: left[name] / max(total[name], 1e-12) for name in left}
