"""The training loop: one for every recipe, on one process or many, that can be stopped and gone on with anywhere."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from talkies.domain.errors import InputError, NumericalError
from talkies.training import checkpoint as files
from talkies.training.attention import FastCpuAttention
from talkies.training.batches import BatchBuilder, collate
from talkies.training.config import Recipe
from talkies.training.delivery import BatchLoader
from talkies.training.ema import Ema
from talkies.training.launch import LAUNCHER
from talkies.training.memory import Outline, check_memory, outline, plan_memory
from talkies.training.objectives import flow_matching_loss
from talkies.training.optim import (
    build_optimizers,
    clip_gradients,
    load_state_tensors,
    rate_factor,
    set_rates,
    state_tensors,
)
from talkies.training.order import OrderState, SampleSource, ShuffledCache
from talkies.training.parallelize import World, agree, average_gradients, mean, place
from talkies.training.report import RunLog, draw_curves, plan_table
from talkies.training.shards import LatentCache, write_text
from talkies.training.system import TrainingSystem, build_system, full_weights, save_model, trained_parameters
from talkies.training.validation import probe_batches, run_probe

_PATIENCE = 8  # steps in a row whose gradient may be NaN or infinite before the run stops

SampleHook = Callable[[TrainingSystem, int, Path], dict[str, float]]
"""Called after each validation with the averaged weights in place, the step and the run's folder; writes samples there
and returns numbers for the log."""


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        step: Optimiser steps done.
        hours: Time spent computing steps.
        order: Place in the data.
        skipped: Steps left out because their gradient was not finite.
    """

    step: int = 0
    hours: float = 0.0
    order: OrderState = field(default_factory=OrderState)
    skipped: int = 0


class Trainer:
    """Trains by a recipe.

    Args:
        recipe: The run.
        folder: Where checkpoints, log, curves and the exported model go. A run found there is gone on with.
        world: This process's place.
        console: Where to report.
        source: Training samples; the caches of `data.train` if None.
        hooks: Called after each validation.

    Raises:
        InputError: Data, model or checkpoint do not fit the recipe, or memory does not suffice.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        world: World,
        console: Console,
        *,
        source: SampleSource | None = None,
        hooks: Sequence[SampleHook] = (),
    ) -> None:
        self.recipe, self.folder, self.world, self.console, self.hooks = recipe, folder, world, console, hooks
        if recipe.data.batch_size % world.size:
            raise InputError(f"`data.batch_size` must be a multiple of the {world.size} processes.")
        torch.set_num_threads(recipe.machine.threads)
        self.source = source or ShuffledCache(LatentCache(recipe.data.train, recipe.data.clips))
        self.progress = Progress()
        outlined = outline(recipe)
        self._window = int(outlined.system.transformer.config.audio_window)
        self._check_fit(outlined)
        self._probe = self._load_probe()
        self.system = build_system(recipe)
        place(self.system, world)
        self.parameters = trained_parameters(self.system)
        self.optimizers = build_optimizers(self.parameters, recipe.optimizer)
        self.ema = Ema(self.parameters, recipe.ema) if recipe.ema else None
        self._stop = False
        self._unsound = 0

    def run(self) -> Progress:
        """Trains until the recipe's limit, SIGTERM or Ctrl-C; saves; returns where the run is.

        Raises:
            NumericalError: Gradients were NaN or infinite several times in a row; the last checkpoint is kept.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = files.list_checkpoints(self._checkpoints)
        if found:
            self._load(found[-1])
        recipe = self.recipe
        if self.world.leads:
            write_text(self.folder / "recipe.json", recipe.model_dump_json(indent=1))
        with self._log() as log, self._signals(), self._loader() as loader:
            if found and log:
                log.note(self.progress.step, f"Going on from step {self.progress.step} of {found[-1]}.")
            self._loop(loader, log)
        return self.progress

    # The loop

    def _loop(self, loader: BatchLoader, log: RunLog | None) -> None:
        every = self.recipe.every
        saved = validated = time.monotonic()
        window: list[tuple[Tensor, float]] = []
        while not self._finished():
            start = time.monotonic()
            loss, norm = self._step(loader)
            # one clock for all processes: rates may depend on it
            seconds = float(mean(torch.tensor(time.monotonic() - start, dtype=torch.float64), self.world))
            self.progress.hours += seconds / 3600
            window.append((loss, seconds))
            if self.progress.step % every.log_steps == 0:
                self._write_step(log, window, norm)
                window = []
            now = time.monotonic()
            due = [now - saved > every.checkpoint * 60, now - validated > every.validation * 60]
            stop, save, validate = agree([self._stop or self._orphaned(), *due], self.world)
            if stop:
                break
            if validate and not self._finished():
                self._validate(log)
                validated = time.monotonic()
            if save:
                self.save()
                saved = time.monotonic()
        self.save()
        if self._finished():
            self._validate(log)

    def _step(self, loader: BatchLoader) -> tuple[Tensor, float]:
        """One optimiser step; returns the mean loss of its samples on this process, and the gradient norm."""
        recipe, progress = self.recipe, self.progress
        done = self._done()
        accumulation = recipe.data.accumulation
        bf16 = recipe.machine.bf16
        total = torch.zeros((), device=self.world.device)
        for part in range(accumulation):
            delivery = loader.next()
            batch = delivery.batch.to(self.world.device)
            # dropout of a text encoder is the only use of torch's own generator
            torch.manual_seed((recipe.seed << 32) + progress.step * accumulation + part)
            with FastCpuAttention():  # around the backward pass too, which recomputes blocks when checkpointing
                with torch.autocast(self.world.device.type, torch.bfloat16, enabled=bf16):
                    output = self.system(batch)
                loss = flow_matching_loss(output, batch, recipe.objective, done).mean() / accumulation
                loss.backward()
            total += loss.detach()
            progress.order = delivery.state
        average_gradients(self.parameters.values(), self.world)
        norm = float(clip_gradients(self.parameters.values(), recipe.optimizer.clip))
        if math.isfinite(norm):
            set_rates(self.optimizers, rate_factor(recipe.schedule, progress.step, done))
            for optimizer in self.optimizers:
                optimizer.step()
            if self.ema:
                self.ema.update()
            self._unsound = 0
        else:
            progress.skipped += 1
            self._unsound += 1
            if self._unsound >= _PATIENCE:
                raise NumericalError(
                    f"The gradient was not finite in {_PATIENCE} steps in a row, up to step {progress.step}.",
                    f"The last good checkpoint is in {self._checkpoints}; lower the learning rate or use fp32.",
                )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        return total, norm

    def _done(self) -> float:
        """Share of the run that is done: by steps if the recipe counts them, else by the clock."""
        limits = self.recipe.limits
        if limits.steps is not None:
            return min(1.0, self.progress.step / limits.steps)
        return min(1.0, self.progress.hours / (limits.hours or math.inf))

    def _finished(self) -> bool:
        limits, progress = self.recipe.limits, self.progress
        by_steps = limits.steps is not None and progress.step >= limits.steps
        by_clock = limits.hours is not None and progress.hours >= limits.hours
        return by_steps or by_clock

    def _write_step(self, log: RunLog | None, window: list[tuple[Tensor, float]], norm: float) -> None:
        losses = mean(torch.stack([loss for loss, _ in window]), self.world)
        if log is None:
            return
        seconds = sum(duration for _, duration in window)
        samples = len(window) * self.recipe.data.batch_size * self.recipe.data.accumulation
        log.write(
            "train",
            self.progress.step,
            {
                "loss": float(losses.mean()),
                "grad_norm": norm,
                "lr": self.optimizers[-1].param_groups[0]["lr"],
                "samples_per_second": samples / seconds,
                "done": self._done(),
                "epoch": self.progress.order.epoch,
                "hours": self.progress.hours,
            },
        )

    # Validation and export

    def _load_probe(self) -> list[Any]:
        data = self.recipe.data
        if not data.validation:
            return []
        return probe_batches(
            LatentCache(data.validation),
            window=self._window,
            latent_frames=data.latent_frames,
            samples=data.validation_samples,
            size=max(2, data.batch_size),
        )

    def _validate(self, log: RunLog | None) -> None:
        """Probe, export and hooks with the averaged weights; curves."""
        recipe = self.recipe
        with self.ema.applied() if self.ema else nullcontext():
            if self.world.leads or self.world.sharded:
                values = run_probe(self.system, self._probe, recipe.objective, recipe.machine.bf16, recipe.seed)
            weights = full_weights(self.system) if self.world.leads or self.world.sharded else {}
            if log is None:
                return
            self._export(weights)
            for hook in self.hooks:
                values |= hook(self.system, self.progress.step, self.folder)
        if values:
            log.write("validation", self.progress.step, values)
        draw_curves(self.folder)

    def _export(self, weights: dict[str, Tensor]) -> None:
        """Replaces `export/`, the model in diffusers layout with averaged weights in bf16."""
        part, final = self.folder / ".export.part", self.folder / "export"
        shutil.rmtree(part, ignore_errors=True)
        save_model(self.system, weights, part)
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)

    # Checkpoints

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        parts: dict[str, dict[str, Tensor]] = {
            "weights": {name: value.detach() for name, value in self.parameters.items()},
            "optimizer": state_tensors(self.optimizers, self.parameters),
        }
        if self.ema:
            parts["averages"] = self.ema.averages
        return parts

    def save(self) -> None:
        """Writes a checkpoint of this very step."""
        progress = self.progress
        state = {
            "progress": asdict(progress),
            "ema_updates": self.ema.updates if self.ema else 0,
            "recipe": json.loads(self.recipe.model_dump_json()),
        }
        if self.world.sharded:
            from talkies.training.sharded_checkpoint import save_sharded

            save_sharded(self._checkpoints, progress.step, self._tensors(), state, self.recipe.keep, self.world)
        elif self.world.leads:
            files.save_checkpoint(self._checkpoints, progress.step, self._tensors(), state, self.recipe.keep)

    def _load(self, folder: Path) -> None:
        state = files.load_state(folder)
        if self.world.sharded:
            from talkies.training.optim import empty_state
            from talkies.training.sharded_checkpoint import load_sharded

            empty_state(self.optimizers)
            load_sharded(folder, self._tensors(), state)
        else:
            self._load_whole(folder)
        if self.ema:
            self.ema.updates = int(state["ema_updates"])
        saved = dict(state["progress"])
        self.progress = Progress(**{**saved, "order": OrderState(**saved["order"])})

    @torch.no_grad()
    def _load_whole(self, folder: Path) -> None:
        weights = files.load_part(folder, "weights")
        fits = set(weights) == set(self.parameters) and all(
            weights[name].shape == value.shape for name, value in self.parameters.items()
        )
        if not fits:
            raise InputError(
                f"The checkpoint {folder} holds other parameters than the recipe trains.",
                "Go on with the recipe it was written by, or start in a new folder.",
            )
        for name, value in self.parameters.items():
            value.copy_(weights[name])
        load_state_tensors(self.optimizers, self.parameters, files.load_part(folder, "optimizer"))
        if self.ema:
            averages = folder / "averages.safetensors"
            self.ema.load(files.load_part(folder, "averages") if averages.exists() else weights, 0)

    # Around the loop

    def _check_fit(self, outlined: Outline) -> None:
        """Prints the memory plan; refuses data that the model cannot take and runs that cannot fit."""
        recipe = self.recipe
        count = recipe.data.batch_size // self.world.size
        numbers, _ = next(self.source.walk(self.progress.order, recipe.data.batch_size, recipe.seed))
        samples = [self.source[number] for number in numbers[:count]]
        batch = collate(samples, self.source.context, self._window, recipe.data.latent_frames)
        given, wanted = batch.hidden_states().shape[1], outlined.system.transformer.config.in_channels
        if given != wanted:
            raise InputError(
                f"The model takes {wanted} channels; latents, mask 4, known latents and condition have {given}.",
                "Set `model.config.in_channels`, or cache other reference features.",
            )
        plan = plan_memory(recipe, outlined, batch, self.world)
        if self.world.leads:
            self.console.print(plan_table(f"{recipe.name}: memory plan, estimated", plan.rows()))
        check_memory(plan, self.world)

    def _loader(self) -> BatchLoader:
        recipe = self.recipe
        builder = BatchBuilder(
            self.source,
            window=self._window,
            condition=recipe.condition,
            timesteps=recipe.objective.timesteps,
            latent_frames=recipe.data.latent_frames,
            limits=recipe.data.clip_sample,
            seed=recipe.seed,
        )
        return BatchLoader(
            self.source.walk(self.progress.order, recipe.data.batch_size, recipe.seed),
            builder,
            draws=self.progress.step * recipe.data.accumulation,
            prefetch=recipe.data.prefetch,
            workers=recipe.data.workers,
            rank=self.world.rank,
            world=self.world.size,
        )

    @contextmanager
    def _log(self) -> Iterator[RunLog | None]:
        if not self.world.leads:
            yield None
            return
        with RunLog(self.folder, self.progress.step, self.console) as log:
            yield log

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C end the run after the present step; a second Ctrl-C ends it at once."""

        def stop(number: int, _frame: FrameType | None) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop = True

        kept = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    @staticmethod
    def _orphaned() -> bool:
        """Whether the command that started this process among others is gone."""
        launcher = os.environ.get(LAUNCHER)
        return launcher is not None and os.getppid() != int(launcher)
