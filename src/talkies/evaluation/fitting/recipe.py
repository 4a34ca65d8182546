"""What a fit is told, and the loop that all fits share."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from talkies.media.staging import staged

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0.0)]


class FitRecipe(BaseModel):
    """A fit of one of the evaluation's networks.

    Attributes:
        tracks: Folder of `talkies stage tracks` to fit to. validation: Another one, of other people.
        limit: Only the first so many tracks are looked at. every: Every so manieth of these is fitted to.
        output: Folder for crops and checkpoints; a fit goes on where it stopped.
        steps: Optimiser steps. batch: Tracks or pictures per step.
        learning_rate: Of AdamW at its highest; warmed up over `warmup` steps, then falling to 0 as a cosine.
        weight_decay: Of matrices and kernels. seed: Of everything random: step k draws from (seed, k), so that a
            resumed fit is the same fit.
        report_steps: Steps between two looks at the validation people, and between two checkpoints.
        threads: Of the CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: Path
    validation: Path
    output: Path
    limit: Count | None = None
    every: Count = 1
    steps: Count
    batch: Count
    learning_rate: Positive = 2e-3
    warmup: Count = 100
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.02
    seed: Annotated[int, Field(ge=0)] = 0
    report_steps: Count = 250
    threads: Count = 1


def run(
    network: nn.Module,
    recipe: FitRecipe,
    name: str,
    loss_at: Callable[[int], Tensor],
    judge: Callable[[], dict[str, float]],
    say: Callable[[str], None],
) -> None:
    """Fits a network in place.

    Args:
        network: In float32. recipe: How long and how. name: Of the files in the recipe's output.
        loss_at: The loss of a step, drawn from its number alone. judge: Numbers on validation people.
        say: Told how it goes; the same lines are kept as `NAME.jsonl`.
    """
    torch.set_num_threads(recipe.threads)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
    recipe.output.mkdir(parents=True, exist_ok=True)
    checkpoint = recipe.output / f"{name}.checkpoint.safetensors"
    first = _resume(network, optimizer, [*decayed, *plain], checkpoint) if checkpoint.exists() else 0
    losses: list[float] = []
    began = time.perf_counter()
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _factor(step, recipe)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        network.train()
        loss = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % recipe.report_steps == 0 or step + 1 == recipe.steps:
            network.eval()
            found = {"step": step + 1, "loss": sum(losses) / len(losses), **judge()}
            found["minutes"] = (time.perf_counter() - began) / 60
            losses.clear()
            say(", ".join(f"{key} {value:.4g}" for key, value in found.items()))
            with (recipe.output / f"{name}.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(found) + "\n")
            _save(network, optimizer, [*decayed, *plain], checkpoint, step + 1)
    network.eval()


def _factor(step: int, recipe: FitRecipe) -> float:
    """Of the learning rate."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _save(
    network: nn.Module, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], path: Path, step: int
) -> None:
    state = {f"network/{name}": value.contiguous() for name, value in network.state_dict().items()}
    for number, parameter in enumerate(parameters):
        for name, value in optimizer.state[parameter].items():
            state[f"optimizer/{number}/{name}"] = torch.as_tensor(value).contiguous()
    with staged(path) as scratch:
        save_file(state, scratch, metadata={"step": str(step)})


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], path: Path) -> int:
    """Takes up a checkpoint; returns how many steps were made."""
    state = load_file(path)
    with safe_open(path, "pt") as file:
        step = int(file.metadata()["step"])
    network.load_state_dict({n.removeprefix("network/"): v for n, v in state.items() if n.startswith("network/")})
    for number, parameter in enumerate(parameters):
        prefix = f"optimizer/{number}/"
        optimizer.state[parameter] = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    return step
