"""The recipe of a training run: every choice by name, checked before anything is read or written.

A recipe is one YAML file. Unknown names, values out of range and contradictions raise
[`InputError`][talkies.domain.errors.InputError] with the place in the file. Paths are relative to the directory the
command is run in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from talkies.domain.errors import InputError
from talkies.runtime.machine import computes_bf16

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


Kind = TypeVar("Kind", bound=BaseModel)


class _Section(BaseModel):
    """A part of a recipe: no unknown names, no changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """Which cached samples are read, and how many at once.

    Attributes:
        train: Cache folders, written by [`CacheWriter`][talkies.training.shards.CacheWriter].
        clips: Train on the first this many samples alone (a small data set); all if null.
        validation: Cache folders for the validation probe; may be empty.
        batch_size: Samples per forward pass over all processes together.
        accumulation: Forward passes per optimiser step.
        validation_samples: Samples of the probe, at most.
        latent_frames: Train on the first this many latent frames of each sample (progressive length); all if null.
        clip_sample: (first channel, one past the last, limit): latents beyond it are cut off. A few wild values of a
            measured flow outweigh all others in a squared error.
        prefetch: Batches prepared ahead by a background thread.
        workers: Processes that prepare them for it, for devices that are faster than one thread; 0 for none.
    """

    train: Annotated[tuple[Path, ...], Field(min_length=1)]
    clips: Count | None = None
    validation: tuple[Path, ...] = ()
    batch_size: Count = 8
    accumulation: Count = 1
    validation_samples: Count = 24
    latent_frames: Annotated[int, Field(ge=2)] | None = None
    clip_sample: tuple[tuple[int, int, Positive], ...] = ()
    prefetch: Annotated[int, Field(ge=1, le=64)] = 4
    workers: Annotated[int, Field(ge=0, le=128)] = 0


class ModelSection(_Section):
    """The network: an existing folder in diffusers layout, or a configuration to start from nothing.

    Attributes:
        path: Folder with `config.json` and safetensors (of the transformer itself).
        config: Arguments of `MultiTalkTransformer3DModel`; beside `path`, those that differ from its `config.json`.
        local_attention: Strength with which self-attention of a new model begins by looking at its own place in every
            frame, 0 for none (`talkies.training.initialise`).
        gradient_checkpointing: Recompute block activations in the backward pass: about 30 % slower, far less memory.
    """

    path: Path | None = None
    config: dict[str, Any] | None = None
    local_attention: Annotated[float, Field(ge=0.0)] = 0.0
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> ModelSection:
        if self.path is None and self.config is None:
            raise ValueError("give `path` (an existing model) or `config` (a new one)")
        return self


class TextEncoderSection(_Section):
    """A text encoder that is trained along with the transformer; its samples hold `prompt_ids`.

    Attributes:
        path: Folder of a `UMT5EncoderModel`.
        config: Arguments of `UMT5Config` for a new one.
        train: Whether its parameters are trained.
    """

    path: Path | None = None
    config: dict[str, Any] | None = None
    train: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> TextEncoderSection:
        if (self.path is None) == (self.config is None):
            raise ValueError("give either `path` (an existing text encoder) or `config` (a new one)")
        return self


class LoraSection(_Section):
    """Low-rank adapters on linear layers whose names end with one of `targets`."""

    rank: Count = 16
    alpha: Count = 16
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("to_q", "to_k", "to_v", "to_out.0")


class TimestepSection(_Section):
    """How noise levels (sigma, 0 clean to 1 noise) are drawn.

    Attributes:
        distribution: `uniform`, or `logit_normal` (Esser et al. 2024, arXiv 2403.03206) before the shift.
        shift: Moves levels towards noise: sigma = s u / (1 + (s - 1) u).
        noise_share: Share of samples drawn at `maximum` exactly; large-scale motion is decided there.
        minimum: Smallest sigma.
        maximum: Largest sigma.
    """

    distribution: Literal["uniform", "logit_normal"] = "uniform"
    shift: Positive = 4.0
    noise_share: Probability = 0.2
    minimum: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.02
    maximum: Annotated[float, Field(gt=0.0, le=1.0)] = 0.999

    @model_validator(mode="after")
    def _ordered(self) -> TimestepSection:
        if self.minimum >= self.maximum:
            raise ValueError("`minimum` must be below `maximum`")
        return self


class Ramp(_Section):
    """A value that moves linearly from `start` to `end` while progress (0 to 1) goes from `begin` to `finish`."""

    start: Probability = 0.0
    end: Probability = 0.0
    begin: Probability = 0.0
    finish: Probability = 1.0

    def at(self, progress: float) -> float:
        """Value at `progress` in [0, 1]."""
        if progress <= self.begin:
            return self.start
        if progress >= self.finish:
            return self.end
        share = (progress - self.begin) / (self.finish - self.begin)
        return self.start + share * (self.end - self.start)


class ObjectiveSection(_Section):
    """The flow-matching loss.

    Attributes:
        prediction: What the network's output means: `velocity` (noise - clean, as the sampler takes it) or `sample`
            (the clean latents; easier for a small network).
        velocity_share: Weight of the velocity-space error; the rest weighs the error of the clean latents, that is
            sigma^2 times the velocity error. 1 is plain flow matching.
        velocity_cap: Largest factor by which the velocity-space part outweighs the clean-space part (1 / sigma^2).
        lip_gain: Loss weight of a cell = 1 + lip_gain * (cached weight - 1).
        channel_weights: (first channel, one past the last, weight) of latent channels that count more or less than 1;
            the loss stays of the same size.
        known_frames: Loss weight of latent frames that are given clean.
        timesteps: How noise levels are drawn.
    """

    prediction: Literal["velocity", "sample"] = "velocity"
    velocity_share: Ramp = Ramp(start=1.0, end=1.0)
    velocity_cap: Positive | None = None
    lip_gain: Annotated[float, Field(ge=0.0)] = 1.0
    channel_weights: tuple[tuple[int, int, float], ...] = ()
    known_frames: Annotated[float, Field(ge=0.0)] = 0.2
    timesteps: TimestepSection = TimestepSection()


class PrefixSection(_Section):
    """Long video: with `probability`, the first k latent frames are given clean, k drawn from `latent_frames`.

    Otherwise only the first latent frame (the reference picture) is given. Against drift, when the model continues its
    own output: `noise` is the largest standard deviation of noise added to given frames after the first; `scale` the
    largest share by which all of them are exaggerated or understated together, as a film that strayed would be.
    """

    probability: Probability = 0.0
    latent_frames: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (2, 3)
    noise: Annotated[float, Field(ge=0.0)] = 0.0
    scale: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class HearingSection(_Section):
    """Training voices are few, and a network learns them by heart: features of speech are disturbed, so that it relies
    on none of their details. In units of the features' own spread, which is one.

    Attributes:
        noise: Largest standard deviation of noise on every feature; every clip has its own.
        voice: Standard deviation of what is added to every channel, and of the logarithm of what it is multiplied by:
            the same throughout a clip, as another speaker's.
        dropped: Share of channels that a speaker of a clip lacks.
    """

    noise: Annotated[float, Field(ge=0.0)] = 0.0
    voice: Annotated[float, Field(ge=0.0)] = 0.0
    dropped: Probability = 0.0


class ConditionSection(_Section):
    """Tasks, dropout for the guidance branches, motion prefixes, and how well voices are heard.

    Attributes:
        drop_text: Share of samples that see the empty prompt.
        drop_text_and_audio: Share of batches that see neither (the unconditional branch).
        image_to_video: Share of batches trained as image-to-video: prompt kept, audio zeroed (supplement 2.1).
        prefix: Motion frames for long video.
        hearing: What features of speech suffer.
    """

    drop_text: Probability = 0.1
    drop_text_and_audio: Probability = 0.1
    image_to_video: Probability = 0.0
    prefix: PrefixSection = PrefixSection()
    hearing: HearingSection = HearingSection()

    @model_validator(mode="after")
    def _leaves_audio(self) -> ConditionSection:
        if self.drop_text_and_audio + self.image_to_video > 1.0:
            raise ValueError("`drop_text_and_audio` and `image_to_video` together exceed 1")
        return self


class OptimizerSection(_Section):
    """AdamW everywhere, or Muon on the blocks' matrices and AdamW on the rest.

    Attributes:
        name: `adamw` or `muon`.
        lr: Learning rate of AdamW.
        muon_lr: Learning rate of Muon, whose update is scaled to AdamW's size (`match_rms_adamw`).
        betas: AdamW's momenta.
        weight_decay: Decoupled decay of matrices; vectors are not decayed.
        momentum: Muon's momentum.
        clip: Largest gradient norm.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: Positive = 1e-3
    muon_lr: Positive = 3e-3
    betas: tuple[Probability, Probability] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    momentum: Probability = 0.95
    clip: Positive = 1.0


class ScheduleSection(_Section):
    """Learning-rate factor over the run: warm-up, then `constant`, `cosine`, or `wsd` (stable, then linear decay).

    Attributes:
        warmup: Optimiser steps of linear warm-up.
        decay: Share of the run, at its end, in which `wsd` decays.
        final: Factor at the end of `cosine` and `wsd`.
    """

    name: Literal["constant", "cosine", "wsd"] = "wsd"
    warmup: Annotated[int, Field(ge=0)] = 100
    decay: Probability = 0.2
    final: Probability = 0.05


class LimitSection(_Section):
    """When the run ends. With `steps` the run is exactly repeatable; with `hours` alone progress follows the clock."""

    steps: Count | None = None
    hours: Positive | None = None

    @model_validator(mode="after")
    def _ends(self) -> LimitSection:
        if self.steps is None and self.hours is None:
            raise ValueError("give `steps`, `hours` or both")
        return self


class EveryMinutes(_Section):
    """Clocks of the run, in minutes; `log_steps` counts optimiser steps."""

    checkpoint: Positive = 10.0
    validation: Positive = 15.0
    log_steps: Count = 10


class MachineSection(_Section):
    """Where and how the run computes.

    Attributes:
        device: `auto` takes a GPU when there is one.
        precision: `bf16` computes under autocast with fp32 parameters; `fp32` computes everything in fp32; `auto` takes
            bf16 where the device computes it by itself, which CPUs with AVX2 alone do not.
        threads: CPU threads per process.
        processes: Processes started by the command on this machine (torchrun's environment takes precedence).
        parallel: `replicate` averages gradients; `shard` splits parameters, gradients and optimiser state (FSDP2).
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: Count = 1
    processes: Count = 1
    parallel: Literal["replicate", "shard"] = "replicate"

    @property
    def accelerated(self) -> bool:
        """Whether this machine computes the run on a GPU."""
        return self.device != "cpu" and torch.cuda.is_available()

    @property
    def bf16(self) -> bool:
        """Whether this machine computes the run under autocast to bf16."""
        if self.precision != "auto":
            return self.precision == "bf16"
        return computes_bf16("cuda" if self.accelerated else "cpu")


class Recipe(_Section):
    """A whole training run.

    Attributes:
        name: Name in logs.
        seed: Seed of initialisation, order, noise and dropout.
        train: `audio`: adapter, audio cross-attention and its norm (the paper's choice); `lora`; `all`.
        lora: Used when `train` is `lora`.
        ema: Decay of the averaged weights; 0 turns averaging off.
        keep: Checkpoints kept on disk.
    """

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    train: Literal["audio", "lora", "all"] = "all"
    data: DataSection
    model: ModelSection
    text_encoder: TextEncoderSection | None = None
    lora: LoraSection = LoraSection()
    objective: ObjectiveSection = ObjectiveSection()
    condition: ConditionSection = ConditionSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    limits: LimitSection
    every: EveryMinutes = EveryMinutes()
    machine: MachineSection = MachineSection()
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    keep: Count = 2

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.train != "all" and self.model.path is None:
            raise ValueError(f"`train: {self.train}` needs `model.path`: it adds to a model that exists")
        if self.data.batch_size % self.machine.processes:
            raise ValueError("`data.batch_size` must be a multiple of `machine.processes`")
        if self.machine.parallel == "shard" and self.optimizer.name == "muon":
            raise ValueError("`optimizer.name: muon` needs whole matrices; use `adamw` with `machine.parallel: shard`")
        return self


def parse_recipe(values: object, where: str) -> Recipe:
    """Checks the values of a `talkies train` recipe, a nested mapping as read from YAML.

    Raises:
        InputError: With the first few problems and their places.
    """
    return check_recipe(Recipe, values, where)


def check_recipe(kind: type[Kind], values: object, where: str) -> Kind:
    """Checks a recipe of any kind.

    Args:
        kind: The recipe's model.
        values: Nested mapping as read from YAML.
        where: Name used in messages, e.g. the file.

    Raises:
        InputError: With the first few problems and their places.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in item['loc']) or 'recipe'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()[:5]
        ]
        raise InputError(
            f"The recipe {where} cannot be used: {'; '.join(problems)}.",
            f"Names and ranges: docs/training.md or `{kind.__module__}`.",
        ) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """A recipe file's values.

    Raises:
        InputError: The file is missing or no YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise InputError(f"The recipe {path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise InputError(f"The recipe {path} must be a mapping of sections.")
    return values


def read_recipe(kind: type[Kind], path: Path) -> Kind:
    """A recipe of any kind from its file.

    Raises:
        InputError: It cannot be read or used.
    """
    return check_recipe(kind, read_mapping(path), str(path))


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Reads a recipe and applies `section.name=value` overrides (values are YAML).

    Raises:
        InputError: The file is missing, is no YAML mapping, or does not pass the checks.
    """
    values = read_mapping(path)
    for override in overrides:
        _apply_override(values, override)
    return parse_recipe(values, str(path))


def _apply_override(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        raise InputError(f"The override {override!r} is not of the form section.name=value.")
    *parents, last = name.split(".")
    target = values
    for parent in parents:
        child = target.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InputError(f"The override {override!r} goes into {parent!r}, which is not a section.")
        target = child
    try:
        target[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"The value of the override {override!r} is not YAML.") from None
