"""How much memory a run will take, estimated before it starts from a forward pass without data."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from talkies.domain.errors import InputError
from talkies.training.batches import Batch, drop_audio
from talkies.training.config import ModelSection, Recipe, TextEncoderSection
from talkies.training.optim import is_block_matrix
from talkies.training.parallelize import World
from talkies.training.system import TrainingSystem, build_system, read_config, trained_parameters

_MIB = 2**20


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on each process, and work.

    Attributes:
        trained: Values that are trained, over all processes.
        frozen: Values that are not.
        parameters: Bytes of parameters.
        gradients: Bytes of gradients.
        optimizer: Bytes of optimiser state.
        averages: Bytes of averaged weights.
        activations: Bytes kept for the backward pass of one batch.
        flops: Floating-point operations of one training sample, forward and backward.
    """

    trained: int
    frozen: int
    parameters: int
    gradients: int
    optimizer: int
    averages: int
    activations: int
    flops: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.parameters + self.gradients + self.optimizer + self.averages + self.activations

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the printed plan."""
        named = [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("optimiser", self.optimizer),
            ("averages (EMA)", self.averages),
            ("activations, one batch", self.activations),
            ("together, each process", self.total),
        ]
        return [
            ("trained / frozen values", f"{self.trained / 1e6:,.2f} M / {self.frozen / 1e6:,.2f} M"),
            *((name, f"{value / _MIB:,.0f} MiB") for name, value in named),
            ("work per sample", f"{self.flops / 1e9:,.0f} GFLOP"),
        ]


@dataclass(frozen=True)
class Outline:
    """The networks of a recipe as shapes without data.

    Attributes:
        mode: Under which they compute.
        system: The networks; parameters that a LoRA would add are missing.
    """

    mode: FakeTensorMode
    system: TrainingSystem


def outline(recipe: Recipe) -> Outline:
    """Builds the networks without memory for weights; of an existing model only `config.json` is read.

    Raises:
        InputError: A path or a configuration cannot be used.
    """
    update: dict[str, object] = {}
    if recipe.model.path is not None:
        names = read_config(recipe.model.path)
        update["model"] = ModelSection(config={k: v for k, v in names.items() if not k.startswith("_")})
    if recipe.text_encoder is not None and recipe.text_encoder.path is not None:
        names = read_config(recipe.text_encoder.path)
        update["text_encoder"] = TextEncoderSection(config=names, train=recipe.text_encoder.train)
    if recipe.train == "lora":  # peft cannot work without data
        update["train"] = "all"
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        return Outline(mode, build_system(recipe.model_copy(update=update)))


def plan_memory(recipe: Recipe, outlined: Outline, batch: Batch, world: World) -> MemoryPlan:
    """Estimates from shapes alone.

    The activations come from a forward pass without data that counts what autograd keeps; the person map, which keeps
    nothing, is left out. For a LoRA they are those of training everything, a little more than it needs.

    Args:
        recipe: The run.
        outlined: Its networks.
        batch: One batch of a process, for its shapes.
        world: The processes.
    """
    system = outlined.system
    trained = trained_parameters(system)
    stored = sum(parameter.numel() * parameter.element_size() for parameter in system.parameters())
    if recipe.train == "lora":
        adapted = _lora_values(recipe, system.transformer)
        values = adapted + sum(value.numel() for name, value in trained.items() if name.startswith("text_encoder."))
        frozen = sum(parameter.numel() for parameter in system.transformer.parameters())
        stored = 4 * values + frozen * (2 if recipe.machine.bf16 else 4)
    else:
        values = sum(parameter.numel() for parameter in trained.values())
        frozen = sum(parameter.numel() for parameter in system.parameters()) - values
    # Muon keeps one value per matrix entry, AdamW two per value
    muon = recipe.optimizer.name == "muon"
    matrices = sum(value.numel() for name, value in trained.items() if is_block_matrix(name, value)) if muon else 0
    share = world.size if world.sharded else 1
    activations, flops = _count_activations(recipe, outlined, batch)
    return MemoryPlan(
        trained=values,
        frozen=frozen,
        parameters=stored // share,
        gradients=4 * values // share,
        optimizer=4 * (2 * values - min(matrices, values)) // share,
        averages=4 * values // share if recipe.ema else 0,
        activations=activations,
        flops=flops,
    )


def _lora_values(recipe: Recipe, transformer: torch.nn.Module) -> int:
    """Entries of the low-rank factors."""
    layers = [
        module
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and any(f".{name}".endswith(f".{t}") for t in recipe.lora.targets)
    ]
    return sum(recipe.lora.rank * (layer.in_features + layer.out_features) for layer in layers)


def _count_activations(recipe: Recipe, outlined: Outline, batch: Batch) -> tuple[int, int]:
    """Bytes kept for the backward pass, and operations per sample (backward counted as twice the forward)."""
    kept: dict[int, Tensor] = {}
    system = outlined.system
    weights = {_storage(parameter) for parameter in system.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor
        return tensor

    system.transformer.disable_gradient_checkpointing()
    with outlined.mode:
        single = drop_audio(batch)
        if single.text_masks is not None:  # who reads which text is data; the last is everybody's
            single = replace(single, text_masks=None, prompt=single.prompt[:, -1])
        tensors = {name: value for name, value in vars(single).items() if isinstance(value, Tensor)}
        faked = replace(single, **{name: outlined.mode.from_tensor(value) for name, value in tensors.items()})
        counter = FlopCounterMode(display=False)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=recipe.machine.bf16)
        with counter, hooks, autocast:
            system(faked)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    if recipe.model.gradient_checkpointing:
        config = system.transformer.config
        tokens = batch.latents[:, 0].numel() // math.prod(config.patch_size)
        width = config.num_attention_heads * config.attention_head_dim
        # the input of every block, and all of one block while it is recomputed
        total = total // config.num_layers + config.num_layers * tokens * width * 4
    return total, 3 * counter.get_total_flops() // batch.latents.shape[0]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def available_memory(world: World) -> int:
    """Bytes of the device, or of the machine shared by its processes."""
    if world.device.type == "cuda":
        return int(torch.cuda.mem_get_info(world.device)[1])
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(limit) // world.size


def check_memory(plan: MemoryPlan, world: World) -> None:
    """Refuses a run that cannot fit.

    Raises:
        InputError: With both numbers.
    """
    there = available_memory(world)
    if plan.total > there:
        raise InputError(
            f"The run needs about {plan.total / _MIB:,.0f} MiB on each process; there are {there / _MIB:,.0f} MiB.",
            "Set model.gradient_checkpointing, a smaller data.batch_size with more data.accumulation, or "
            "machine.parallel: shard.",
        )
