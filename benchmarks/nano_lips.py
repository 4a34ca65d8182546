"""How well the small model's lips follow their own voice, read from its latents: quick enough to watch a training run.

    python benchmarks/nano_lips.py RUN/export CACHE --codec MODEL/vae [--steps 8] [--guidance 2] [--count 48]

Clips of a cache never trained on are generated from their first frame and their voices. Lips are the latents' own
`open` channel at mouths, against the truth's: r with the own voice, with the neighbour's, and after the voices were
exchanged; the spread relative to the truth's; how much silent people move relative to speakers. Heads are the mean flow
of faces. Distortion is the Frechet distance between generated and true latents, cell by cell, in all channels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import UMT5EncoderModel

from talkies.evaluation.frechet import Moments, frechet_distance
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FLOW_UNIT, FRAMES, expand_flow, liveliness_map
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.machine import autocast_bf16
from talkies.sampling.denoise import denoise
from talkies.sampling.guidance import Branch, ClassifierFreeGuidance
from talkies.sampling.schedule import shifted_levels
from talkies.sampling.solver import EulerSolver
from talkies.training.batches import Batch, assemble_hidden_states, collate
from talkies.training.shards import LatentCache
from talkies.training.system import TrainingSystem

PLACE = FLOW_CHANNELS + FRAMES * EXPRESSIONS  # how much of a cell is mouth


def open_run(export: Path, codec: Path) -> tuple[TrainingSystem, Callable[[Tensor], Tensor]]:
    """The networks of a run, and what makes of its latents `[B, z, ...]` those that the codec's parts speak of: neither
    normalised nor compressed."""
    system = TrainingSystem(
        MultiTalkTransformer3DModel.from_pretrained(export / "transformer", torch_dtype=torch.float32),
        UMT5EncoderModel.from_pretrained(export / "text_encoder", dtype=torch.float32),
    ).eval()
    config = AutoencoderReference.load_config(codec)
    spread, knee = torch.tensor(config["latents_std"]).view(1, -1, 1, 1, 1), config.get("flow_knee")
    return system, lambda latents: expand_flow(latents * spread, knee)


def pairs_of(cache: LatentCache, count: int) -> list[int]:
    """Numbers of the first clips of two people."""
    return [n for n in range(len(cache)) if cache[n].person_masks.shape[0] == 3][:count]


def told(batch: Batch, liveliness: Tensor) -> Tensor:
    """The batch's reference features with another `liveliness [B, P]` in the last of them, `[B, c, T, h, w]`."""
    features, masks = batch.condition, batch.person_masks
    assert features is not None and masks is not None
    said = liveliness_map(liveliness, masks, features.shape[-2:])[:, :, None].expand_as(features[:, -1:])
    return torch.cat([features[:, :-1], said], 1)


def generate(
    system: TrainingSystem,
    batch: Batch,
    audio: Tensor,
    steps: int,
    guidance: float,
    shift: float,
    text: float = 1.0,
    scale: float = 1.0,
) -> Tensor:
    """Clean latents `[B, z, T, h, w]` of a batch whose first frame is given; `guidance` is that of audio, `scale` that
    of the noise."""
    nothing = torch.zeros_like(batch.prompt)
    nothing[..., 0] = 1  # the end of the text, and padding

    def predict(branch: Branch, latents: Tensor, timestep: Tensor) -> Tensor:
        output = system.transformer(
            hidden_states=assemble_hidden_states(latents, batch.known_mask, batch.known, batch.condition),
            timestep=timestep,
            encoder_hidden_states=system.embed_prompt(batch.prompt if branch.text else nothing),
            audio_hidden_states=audio if branch.audio else torch.zeros_like(audio[:, :1]),
            person_masks=batch.person_masks if branch.audio else None,
            text_masks=batch.text_masks,
            return_dict=False,
        )[0].float()
        return (latents - output) * (1000 / timestep).view(-1, 1, 1, 1, 1)

    noise = scale * torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(0))
    solver = EulerSolver(shifted_levels(steps, shift))
    with autocast_bf16("cpu"):
        return denoise(predict, noise, solver, ClassifierFreeGuidance(text, guidance))


def opening(latents: Tensor, where: Tensor, people: int) -> Tensor:
    """How far each person's lips are open, `[B, people, 4 (T - 1)]`, by latents `[B, z, T, h, w]` at the mouths of
    `where`; people stand in strips of equal width."""
    place = where[:, PLACE, 1:].clamp_min(0)  # [B, T-1, h, w]
    shown = latents[:, FLOW_CHANNELS : FLOW_CHANNELS + FRAMES * EXPRESSIONS : EXPRESSIONS, 1:]  # [B, 4, T-1, h, w]
    strips = [part.unflatten(-1, (people, -1)) for part in (shown, place)]
    seen, weight = strips[0], strips[1][:, None]
    value = (seen * weight).sum((3, 5)) / weight.square().sum((3, 5)).clamp_min(1e-6)  # [B, 4, T-1, people]
    return value.permute(0, 3, 2, 1).flatten(2)


def sway(latents: Tensor, where: Tensor, people: int) -> Tensor:
    """How far each person's face has moved, `[B, people, 4 (T - 1), 2]` in pixels: the mean flow of its cells."""
    place = where[:, [PLACE, PLACE + 1], 1:].amax(1).clamp_min(0)  # [B, T-1, h, w]
    flow = latents[:, :FLOW_CHANNELS, 1:].unflatten(1, (FRAMES, 2)) * FLOW_UNIT  # [B, 4, 2, T-1, h, w]
    strips = [part.unflatten(-1, (people, -1)) for part in (flow, place)]
    seen, weight = strips[0], strips[1][:, None, None]
    value = (seen * weight).sum((4, 6)) / weight.sum((4, 6)).clamp_min(1e-6)  # [B, 4, 2, T-1, people]
    return value.permute(0, 4, 3, 1, 2).flatten(2, 3)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Along the last axis."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-6)


def cells(latents: Tensor) -> Tensor:
    """All cells of a batch after the given frame, `[n, z]`."""
    return latents[:, :, 1:].movedim(1, -1).flatten(0, -2)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--shift", type=float, default=4.0)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--latent-frames", type=int, help="only the first ones of every clip")
    parser.add_argument("--liveliness", type=float, help="told of everybody instead of their own")
    parser.add_argument("--noise", type=float, default=1.0, help="scale of the noise that films begin as")
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    arguments = options()
    torch.set_num_threads(1)
    system, natural = open_run(arguments.export, arguments.codec)
    cache = LatentCache([arguments.cache])
    pairs = pairs_of(cache, arguments.count)
    rows: list[Tensor] = []
    heads: list[Tensor] = []
    true_cells: list[Tensor] = []
    made_cells: list[Tensor] = []
    for first in range(0, len(pairs), 8):
        batch = collate([cache[n] for n in pairs[first : first + 8]], cache.context, 5, arguments.latent_frames)
        if arguments.liveliness is not None:
            everybody = torch.full((len(batch.latents), 2), arguments.liveliness)
            batch = replace(batch, condition=told(batch, everybody))
        truth = natural(batch.latents)
        lips = [opening(truth, truth, 2)]
        moved = [sway(truth, truth, 2)]
        for audio in (batch.audio, batch.audio.flip(1)):
            made = generate(
                system, replace(batch, audio=audio), audio, arguments.steps, arguments.guidance, arguments.shift,
                scale=arguments.noise,
            )  # fmt: skip
            lips.append(opening(natural(made), truth, 2))
            moved.append(sway(natural(made), truth, 2))
            if audio is batch.audio:
                true_cells.append(cells(batch.latents))
                made_cells.append(cells(made))
        rows.append(torch.stack(lips))
        heads.append(torch.stack(moved[:2]))
    truth, made, exchanged = torch.cat(rows, 1)  # [clips, 2, frames] each
    speaks, other = truth.std(-1) > 0.25, truth.flip(1)
    both = speaks & speaks.flip(1)
    print(f"{len(truth)} clips of two, {int(speaks.sum())} speakers, {int((~speaks).sum())} silent")
    print(f"r with the own voice {correlation(made, truth)[speaks].mean():.3f}")
    print(f"r with the neighbour's {correlation(made, other)[both].mean():.3f}")
    print(f"exchanged: r with the old voice {correlation(exchanged, truth)[both].mean():.3f}, "
          f"with the new {correlation(exchanged, other)[both].mean():.3f}")  # fmt: skip
    print(f"spread relative to the truth's {float(made[speaks].std(-1).mean() / truth[speaks].std(-1).mean()):.3f}")
    if (~speaks).any():
        still = made[~speaks].std(-1).mean() / made[speaks].std(-1).mean()
        print(f"silent people relative to speakers {float(still):.3f}")
    true_head, made_head = torch.cat(heads, 1)  # [clips, 2, frames, 2] each
    speed = [(head[..., 1:, :] - head[..., :-1, :]).norm(dim=-1).mean() for head in (made_head, true_head)]
    print(f"heads: spread relative to the truth's {float(made_head.std(2).mean() / true_head.std(2).mean()):.3f}, "
          f"speed {float(speed[0] / speed[1]):.3f}")  # fmt: skip
    seen = [Moments.of(torch.cat(parts).numpy()) for parts in (made_cells, true_cells)]
    print(f"distortion {frechet_distance(*seen):.3f}")
    rng, values = np.random.default_rng(0), correlation(made, truth)[speaks].numpy()
    draws = [rng.choice(values, len(values)).mean() for _ in range(1000)]
    print(f"95 % of bootstrap means of r lie in {np.quantile(draws, 0.025):.3f} to {np.quantile(draws, 0.975):.3f}")


if __name__ == "__main__":
    main()
