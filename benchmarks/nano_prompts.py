"""How far the small model follows prompts, read from its latents: quick enough to watch a training run.

    python benchmarks/nano_prompts.py RUN/export CACHE --tokenizer FOLDER --codec MODEL/vae [--count 16] [--text 1]

Clips of two people of a cache never trained on are generated from their first frame and their voices, once for every
prompt. Told are, for the person who is asked and for the other: how much the face moves down and across (spread over
time, pixels), and how much of a smile and of raised brows is added; all relative to what the plain prompt gives.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from nano_lips import PLACE, generate, open_run, pairs_of, sway
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from talkies.domain.expression import AT_MOUTH, EXPRESSION
from talkies.domain.own_words import own_words
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES
from talkies.training.batches import collate
from talkies.training.prepare import PROMPT_TOKENS
from talkies.training.shards import LatentCache

PLAIN = "Two people are talking to each other in an office."
DOES = {"nods": "gives a nod", "shakes": "shakes {their} head", "turns": "turns {their} head to the side",
        "is happy": "looks happy", "is surprised": "looks surprised", "is annoyed": "looks annoyed"}  # fmt: skip
PLACES = ("on the left", "on the right")
NAMES = list(EXPRESSION)


def added(latents: Tensor, where: Tensor, name: str) -> Tensor:
    """How much of an expression is added, `[B, 2]`: mean over time where it is shown, by the places of `where`."""
    place = where[:, PLACE + (name not in AT_MOUTH), 1:].clamp_min(0)
    shown = latents[:, FLOW_CHANNELS + NAMES.index(name) : FLOW_CHANNELS + FRAMES * EXPRESSIONS : EXPRESSIONS, 1:]
    strips = [part.unflatten(-1, (2, -1)) for part in (shown, place)]
    weight = strips[1][:, None]
    return ((strips[0] * weight).sum((2, 3, 5)) / weight.square().sum((2, 3, 5)).clamp_min(1e-6)).mean(1)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--text", type=float, default=1.0, help="text guidance")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--latent-frames", type=int, help="only the first ones of every clip")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    system, natural = open_run(arguments.export, arguments.codec)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.tokenizer)
    cache = LatentCache([arguments.cache])
    pairs = pairs_of(cache, arguments.count)

    def ids(text: str) -> Tensor:
        padded = tokenizer(text, padding="max_length", truncation=True, max_length=PROMPT_TOKENS)
        return torch.tensor(padded["input_ids"], dtype=torch.int64)

    def seen(text: str) -> Tensor:
        """`[clips, 2, 4]`: down, across, smile and brows of both people."""
        rows = []
        for first in range(0, len(pairs), 8):
            batch = collate([cache[n] for n in pairs[first : first + 8]], cache.context, 5, arguments.latent_frames)
            read = ids(text)
            if batch.text_masks is not None:  # everybody their own words, as in training
                read = torch.stack([*(ids(own) for own in own_words(text, 2)), read])
            batch = replace(batch, prompt=read.expand(len(batch.latents), *read.shape))
            made = generate(system, batch, batch.audio, arguments.steps, arguments.guidance, 4.0, arguments.text)
            truth = natural(batch.latents)
            moved = sway(natural(made), truth, 2).std(2)  # [B, 2, 2]
            felt = [added(natural(made), truth, name)[..., None] for name in ("wide", "brow")]
            rows.append(torch.cat([moved.flip(-1), *felt], -1))
        return torch.cat(rows)

    def told(row: Tensor, sign: str = "+") -> str:
        names = ("down", "across", "smile", "brows")
        return ", ".join(f"{name} {value:{sign}.2f}" for name, value in zip(names, row.tolist(), strict=True))

    plain = seen(PLAIN)
    print(f"plain: {told(plain.mean((0, 1)), '')}")
    for name, does in DOES.items():
        own, other = [], []
        for person, place in enumerate(PLACES):
            change = seen(f"{PLAIN} The person {place} {does.replace('{their}', 'her')}.") - plain
            own.append(change[:, person])
            other.append(change[:, 1 - person])
        print(f"{name}: asked: {told(torch.cat(own).mean(0))}; other: {told(torch.cat(other).mean(0))}")


if __name__ == "__main__":
    main()
