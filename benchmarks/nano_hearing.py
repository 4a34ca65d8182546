"""Where on the way from voice to lips something is lost: speech features, audio tokens, first guess, finished film.

    python benchmarks/nano_hearing.py RUN/export CACHE TEST_CACHE --codec MODEL/vae [--fit 400] [--films 16]

Of clips of two, r of the lips' opening with the truth, speakers only: by ridge regression from the windows of speech
features that belong to a latent frame, and from the audio adapter's tokens, fitted to clips of CACHE; then as the
network generates it in one step and in eight, without guidance. Told for clips of CACHE and of TEST_CACHE, which nobody
was trained on: where the two differ, voices were learnt by heart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from nano_lips import correlation, generate, open_run, opening, pairs_of
from torch import Tensor

from talkies.models.motion_latents import FRAMES
from talkies.training.batches import collate
from talkies.training.shards import LatentCache
from talkies.training.system import TrainingSystem

RIDGE = 3000.0
SPEAKS = 0.25  # spread of the opening from which on somebody counts as a speaker


def heard(
    system: TrainingSystem, cache: LatentCache, pairs: list[int], natural: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows and tokens `[people, T - 1, d]`, and the lips of their frames `[people, T - 1, 4]`."""
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    adapter = system.transformer.audio_projector
    for first in range(0, len(pairs), 8):
        batch = collate([cache[n] for n in pairs[first : first + 8]], cache.context, 5, None)
        truth = natural(batch.latents)
        lips = opening(truth, truth, 2).unflatten(-1, (-1, FRAMES))
        windows = adapter.later_slots(batch.audio[:, :, 1:]).flatten(3)
        tokens = adapter(batch.audio)[:, :, 1:].flatten(3)
        rows.append((windows.flatten(0, 1), tokens.flatten(0, 1), lips.flatten(0, 1)))
    windows, tokens, lips = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return windows, tokens, lips


def ridge(features: Tensor, lips: Tensor, others: Tensor) -> Tensor:
    """What `others [n, T - 1, d]` say of lips, by a regression fitted to `features` and `lips`: `[n, T - 1, 4]`."""
    known = features.flatten(0, 1).double()
    mean, std = known.mean(0), known.std(0) + 1e-6

    def columns(values: Tensor) -> Tensor:
        scaled = (values.flatten(0, 1).double() - mean) / std
        return torch.cat([scaled, scaled.new_ones(len(scaled), 1)], 1)

    design = columns(features)
    weights = torch.linalg.solve(
        design.T @ design + RIDGE * torch.eye(design.shape[1], dtype=torch.float64),
        design.T @ lips.flatten(0, 1).double(),
    )
    return (columns(others) @ weights).unflatten(0, others.shape[:2])


def agreement(found: Tensor, lips: Tensor) -> float:
    """Mean r over people who speak, of curves `[n, frames]`."""
    speaks = lips.std(-1) > SPEAKS
    return float(correlation(found.double(), lips.double())[speaks].mean())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("test_cache", type=Path)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--fit", type=int, default=400, help="clips that the regressions are fitted to")
    parser.add_argument("--clips", type=int, default=60, help="test clips for the regressions")
    parser.add_argument("--films", type=int, default=16, help="clips generated of each cache")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    system, natural = open_run(arguments.export, arguments.codec)
    caches = {"known": LatentCache((arguments.cache,)), "unseen": LatentCache((arguments.test_cache,))}
    counts = {"known": arguments.fit, "unseen": arguments.clips}
    data = {name: heard(system, cache, pairs_of(cache, counts[name]), natural) for name, cache in caches.items()}
    for place, title in enumerate(("speech features", "audio tokens")):
        for name, parts in data.items():
            found = ridge(data["known"][place], data["known"][2], parts[place])
            print(f"{title}, {name} voices: {agreement(found.flatten(1), parts[2].flatten(1)):.3f}")
    for steps in (1, 8):
        for name, cache in caches.items():
            pairs, curves = pairs_of(cache, arguments.films), []
            for first in range(0, len(pairs), 8):
                batch = collate([cache[n] for n in pairs[first : first + 8]], cache.context, 5, None)
                truth = natural(batch.latents)
                made = natural(generate(system, batch, batch.audio, steps, 1.0, 4.0))
                curves.append(torch.stack([opening(made, truth, 2), opening(truth, truth, 2)]).flatten(1, 2))
            found, lips = torch.cat(curves, 1)
            print(f"{steps} steps, {name} voices: {agreement(found, lips):.3f}")


if __name__ == "__main__":
    main()
