"""How much memory a run will take, estimated before it starts from a forward pass without data."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from talkies.domain.errors import InputError
from talkies.training.batches import Batch, drop_audio
from talkies.training.config import Recipe
from talkies.training.parallelize import World
from talkies.training.system import TrainingSystem, build_system, trained_parameters

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


def plan_memory(recipe: Recipe, system: TrainingSystem, batch: Batch, world: World) -> MemoryPlan:
    """Estimates from shapes alone.

    The activations come from a forward pass over fake tensors (shapes without data) that counts what autograd keeps;
    the person map, which keeps nothing, is left out.

    Args:
        recipe: The run.
        system: Its networks, before sharding.
        batch: One batch of a process, for its shapes.
        world: The processes.
    """
    trained = trained_parameters(system)
    values = sum(parameter.numel() for parameter in trained.values())
    stored = sum(parameter.numel() * parameter.element_size() for parameter in system.parameters())
    held = 4 * values
    share = world.size if world.sharded else 1
    # Muon keeps one value per matrix entry, AdamW two per value
    matrices = 0
    if recipe.optimizer.name == "muon":
        from talkies.training.optim import is_block_matrix

        matrices = sum(value.numel() for name, value in trained.items() if is_block_matrix(name, value))
    activations, flops = _count_activations(recipe, batch)
    return MemoryPlan(
        trained=values,
        frozen=sum(parameter.numel() for parameter in system.parameters()) - values,
        parameters=stored // share,
        gradients=held // share,
        optimizer=(2 * held - 4 * matrices) // share,
        averages=held // share if recipe.ema else 0,
        activations=activations,
        flops=flops,
    )


def _count_activations(recipe: Recipe, batch: Batch) -> tuple[int, int]:
    """Bytes kept for the backward pass, and operations per sample (backward counted as twice the forward)."""
    kept: dict[int, Tensor] = {}
    model = recipe.model.model_copy(update={"gradient_checkpointing": False})
    # peft cannot add adapters to fake tensors; training all parameters keeps a little more
    plain = recipe.model_copy(update={"model": model, "train": "all" if recipe.train == "lora" else recipe.train})
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        system = _fake_system(plain)
        weights = {_storage(parameter) for parameter in system.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            if _storage(tensor) not in weights:
                kept[_storage(tensor)] = tensor
            return tensor

        values = drop_audio(batch)
        faked = {
            name: mode.from_tensor(value) for name, value in vars(values).items() if isinstance(value, torch.Tensor)
        }
        counter = FlopCounterMode(display=False)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=recipe.machine.precision == "bf16")
        with counter, hooks, autocast:
            system(type(batch)(**{**vars(values), **faked}))
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    if recipe.model.gradient_checkpointing:
        config = system.transformer.config
        blocks = int(config.num_layers)
        tokens = batch.latents[0, 0].numel() * batch.latents.shape[0]
        for size in config.patch_size:
            tokens //= size
        # the input of every block, and all of one block while it is recomputed
        total = total // blocks + blocks * tokens * config.num_attention_heads * config.attention_head_dim * 4
    return total, 3 * counter.get_total_flops() // batch.latents.shape[0]


def _fake_system(recipe: Recipe) -> TrainingSystem:
    """The networks without weights: a folder is replaced by its configuration."""
    from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

    update: dict[str, object] = {}
    if recipe.model.path is not None:
        config = MultiTalkTransformer3DModel.load_config(recipe.model.path)
        names = {name: value for name, value in config.items() if not name.startswith("_")}
        update["model"] = recipe.model.model_copy(update={"path": None, "config": names})
    if recipe.text_encoder is not None and recipe.text_encoder.path is not None:
        from transformers import UMT5Config

        folder = recipe.text_encoder.path
        names = UMT5Config.from_pretrained(folder).to_dict()
        update["text_encoder"] = recipe.text_encoder.model_copy(update={"path": None, "config": names})
    return build_system(recipe.model_copy(update=update))


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
