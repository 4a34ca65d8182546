"""Samples per second of a training step on one thread, with PyTorch's attention and with the trainer's.

    python benchmarks/training_speed.py [--heads 4] [--layers 8] [--dim 256] [--batch 8] [--steps 3]

Clips of two people, 9 latent frames of 12 x 20 cells (33 frames of 192 x 320 pixels), random values. Times are CPU
seconds of the process, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from dataclasses import replace

import torch

from talkies.runtime.machine import autocast_bf16
from talkies.training.attention import FastCpuAttention
from talkies.training.batches import Batch, collate
from talkies.training.config import parse_recipe
from talkies.training.objectives import flow_matching_loss
from talkies.training.optim import build_optimizers, clip_gradients
from talkies.training.shards import CachedSample
from talkies.training.system import TrainingSystem, build_system, trained_parameters

LATENTS, REFERENCE, LAYERS, FEATURES, TEXT = 16, 32, 4, 64, 64


def make_batch(size: int) -> Batch:
    """Random clips of two people."""
    random = torch.Generator().manual_seed(0)
    masks = torch.zeros(3, 12, 20)
    masks[0, 2:8, 2:8], masks[1, 2:8, 12:18] = 1, 1
    masks[2] = 1 - masks[:2].sum(0)
    samples = [
        CachedSample(
            id=str(number),
            latents=torch.randn(LATENTS, 9, 12, 20, generator=random),
            person_masks=masks,
            audio=torch.randn(2, 33 + 4, LAYERS, FEATURES, generator=random),
            condition=torch.randn(REFERENCE, 12, 20, generator=random),
            prompt_embeds=torch.randn(16, TEXT, generator=random),
        )
        for number in range(size)
    ]
    clean = collate(samples, 2, 5, None)
    return replace(clean, noise=torch.randn(clean.latents.shape, generator=random), sigma=torch.full((size,), 0.8))


def make_system(arguments: argparse.Namespace) -> tuple[TrainingSystem, list[torch.optim.Optimizer]]:
    """The network of the arguments and its optimiser."""
    config = {
        "image_dim": None,
        "added_kv_proj_dim": None,
        "in_channels": 2 * LATENTS + 4 + REFERENCE,
        "out_channels": LATENTS,
        "num_attention_heads": arguments.heads,
        "attention_head_dim": arguments.dim // arguments.heads,
        "num_layers": arguments.layers,
        "ffn_dim": 3 * arguments.dim,
        "text_dim": TEXT,
        "freq_dim": 128,
        "audio_blocks": LAYERS,
        "audio_channels": FEATURES,
        "audio_hidden_dim": 256,
        "audio_output_dim": 256,
        "audio_context_tokens": 8,
    }
    values = {
        "name": "speed",
        "data": {"train": ["none"]},
        "model": {"config": config},
        "optimizer": {"name": arguments.optimizer},
        "limits": {"steps": 1},
    }
    recipe = parse_recipe(values, "benchmark")
    system = build_system(recipe)
    return system, build_optimizers(trained_parameters(system), recipe.optimizer)


def measure(arguments: argparse.Namespace, fast: bool) -> dict[str, float]:
    """CPU seconds of each part of a step, without the first one."""
    system, optimizers = make_system(arguments)
    batch = make_batch(arguments.batch)
    objective = parse_recipe(
        {"name": "x", "data": {"train": ["none"]}, "model": {"config": {}}, "limits": {"steps": 1}}, "benchmark"
    ).objective
    spent = {"forward": 0.0, "backward": 0.0, "update": 0.0}
    for step in range(arguments.steps + 1):
        with FastCpuAttention() if fast else nullcontext():
            start = time.process_time()
            with autocast_bf16("cpu"):
                output = system(batch)
            loss = flow_matching_loss(output, batch, objective, 0.0).mean()
            forward = time.process_time()
            loss.backward()
            backward = time.process_time()
        clip_gradients(trained_parameters(system).values(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step:
            spent["forward"] += forward - start
            spent["backward"] += backward - forward
            spent["update"] += time.process_time() - backward
    return {name: value / arguments.steps for name, value in spent.items()}


def main() -> None:
    """Prints one line for each attention."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for fast in (False, True):
        parts = measure(arguments, fast)
        shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
        rate = arguments.batch / sum(parts.values())
        print(f"{'ours ' if fast else 'torch'}: {shown}, {rate:.2f} samples/s")


if __name__ == "__main__":
    main()
