"""A tiny cache and recipe: real shapes, real files, seconds to train."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from talkies.training.config import parse_recipe
from talkies.training.parallelize import join_world, leave_world
from talkies.training.shards import CachedSample, CacheWriter
from talkies.training.trainer import Trainer

CHANNELS, FRAMES, HEIGHT, WIDTH = 4, 3, 4, 8
REFERENCE, LAYERS, FEATURES, CONTEXT = 4, 2, 8, 2
TOKENS, TEXT = 4, 16


def make_sample(number: int, people: int = 2, seed: int = 0, ids: bool = False) -> CachedSample:
    """A clip in which each person's cells follow the mean of their own audio."""
    random = torch.Generator().manual_seed(1000 * seed + number)
    steps = 4 * (FRAMES - 1) + 1
    prompt = torch.Generator().manual_seed(number % 3)
    audio = torch.randn(people, steps + 2 * CONTEXT, LAYERS, FEATURES, generator=random)
    masks = torch.zeros(people + 1, HEIGHT, WIDTH)
    latents = 0.1 * torch.randn(CHANNELS, FRAMES, HEIGHT, WIDTH, generator=random)
    weight = torch.ones(FRAMES, HEIGHT, WIDTH)
    width = WIDTH // people
    for person in range(people):
        left = person * width
        masks[person, :, left : left + width - 1] = 1
        drive = audio[person, CONTEXT:-CONTEXT].mean(1)[::4, :CHANNELS].T  # [z, T]
        latents[:, :, 1:3, left : left + 2] += drive[:, :, None, None]
        weight[:, 1:3, left : left + 2] = 5
    masks[-1] = 1 - masks[:-1].sum(0)
    return CachedSample(
        id=f"clip{number}",
        latents=latents.bfloat16(),
        person_masks=masks.to(torch.uint8),
        audio=audio.bfloat16(),
        condition=torch.randn(REFERENCE, HEIGHT, WIDTH, generator=random).bfloat16(),
        weight=weight,
        prompt_embeds=None if ids else torch.randn(TOKENS, TEXT, generator=prompt).bfloat16(),
        prompt_ids=torch.randint(1, 20, (TOKENS,), generator=prompt) if ids else None,
    )


def write_cache(root: Path, people: list[int], seed: int = 0, samples_per_shard: int = 4, ids: bool = False) -> Path:
    """A cache with one sample for each entry of `people`."""
    null_prompt = torch.tensor([1, 0, 0, 0]) if ids else torch.zeros(TOKENS, TEXT)
    with CacheWriter(root, context=CONTEXT, null_prompt=null_prompt, samples_per_shard=samples_per_shard) as writer:
        for number, count in enumerate(people):
            writer.add(make_sample(number, count, seed, ids))
    return root


def recipe_values(train: Path, validation: Path | None = None) -> dict[str, Any]:
    """A recipe that trains a model of 30,000 parameters for six steps."""
    return {
        "name": "tiny",
        "data": {"train": [str(train)], "validation": [str(validation)] if validation else [], "batch_size": 4},
        "model": {"config": model_config()},
        "condition": {"prefix": {"probability": 0.3, "latent_frames": [2], "noise": 0.1}},
        "schedule": {"warmup": 2},
        "limits": {"steps": 6},
        "every": {"log_steps": 1, "validation": 1000, "checkpoint": 1000},
        "machine": {"device": "cpu", "precision": "fp32"},
    }


def text_encoder_config() -> dict[str, Any]:
    """Arguments of a tiny umT5."""
    return {"vocab_size": 20, "d_model": TEXT, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def model_config() -> dict[str, Any]:
    """Arguments of the tiny transformer."""
    return {
        "image_dim": None,
        "added_kv_proj_dim": None,
        "in_channels": 2 * CHANNELS + 4 + REFERENCE,
        "out_channels": CHANNELS,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "ffn_dim": 32,
        "text_dim": TEXT,
        "freq_dim": 16,
        "audio_window": 5,
        "audio_blocks": LAYERS,
        "audio_channels": FEATURES,
        "audio_hidden_dim": 16,
        "audio_output_dim": 16,
        "audio_context_tokens": 2,
    }


def start_training(values: dict[str, Any], folder: Path, place: dict[str, str] | None = None) -> BaseProcess:
    """A process that trains; forked from one that has imported everything, which takes longer than the training.

    Args:
        values: The recipe.
        folder: Of the run.
        place: Environment that gives the process its place among others.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["training_cases"])
    process = context.Process(target=_train_here, args=(values, folder, place or {}))
    process.start()
    return process


def _train_here(values: dict[str, Any], folder: Path, place: dict[str, str]) -> None:
    os.environ.update(place)
    recipe = parse_recipe(values, "test")
    Trainer(recipe, folder, join_world(recipe.machine), Console(quiet=True)).run()
    leave_world()
