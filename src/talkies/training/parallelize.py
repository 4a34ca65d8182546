"""More than one process: replicated (gradients averaged) or sharded (FSDP2), applied from outside the network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from talkies.domain.errors import InputError
from talkies.training.config import MachineSection

_BUCKET = 8_000_000  # values averaged at once
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """This process among those of the run.

    Attributes:
        rank: Its number; 0 writes files.
        size: How many there are.
        device: Where it computes.
        sharded: Parameters are split over processes.
    """

    rank: int
    size: int
    device: torch.device
    sharded: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0


def join_world(machine: MachineSection) -> World:
    """Takes this process's place from torchrun's environment (RANK, WORLD_SIZE, LOCAL_RANK), or stands alone.

    Raises:
        InputError: `device: cuda` without one.
    """
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise InputError("`machine.device` is cuda, but there is no CUDA device here.", "Use `auto` or `cpu`.")
    accelerated = machine.accelerated
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if accelerated else torch.device("cpu")
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    sharded = machine.parallel == "shard"
    if accelerated:
        torch.cuda.set_device(device)
    if size > 1 or sharded:
        if size == 1:  # a mesh of one process, for a single GPU or a test
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
            os.environ.setdefault("MASTER_PORT", "0")
        # gloo carries the control messages and, sharded, the checkpoints of CPU tensors
        backend = "cpu:gloo,cuda:nccl" if accelerated else "gloo"
        dist.init_process_group(backend, rank=rank, world_size=size, timeout=_TIMEOUT)
    return World(rank, size, device, sharded)


def leave_world() -> None:
    """Ends the process group, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def place(system: nn.Module, world: World) -> None:
    """Brings the networks to the device; sharded, block by block, so that the whole model is never there."""
    if world.sharded:
        _shard(system, world)
    else:
        system.to(world.device)


def _shard(system: nn.Module, world: World) -> None:
    """Splits parameters, gradients and optimiser state over all processes (FSDP2), one unit per transformer block."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    blocks = [module for module in system.modules() if type(module).__name__.endswith("TransformerBlock")]
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(system, mesh=mesh)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replaces gradients by their mean over processes; sharded ones are averaged already."""
    if world.size == 1 or world.sharded:
        return
    bucket: list[Tensor] = []
    filled = 0
    for parameter in parameters:
        if parameter.grad is None:  # the same on every process: the task is drawn for the whole batch
            continue
        bucket.append(parameter.grad)
        filled += parameter.grad.numel()
        if filled >= _BUCKET:
            _average(bucket, world.size)
            bucket, filled = [], 0
    if bucket:
        _average(bucket, world.size)


def _average(bucket: list[Tensor], size: int) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    dist.all_reduce(flat)
    flat.div_(size)
    parts = flat.split([gradient.numel() for gradient in bucket])
    torch._foreach_copy_(bucket, [part.view_as(gradient) for part, gradient in zip(parts, bucket, strict=True)])


def agree(flags: list[bool], world: World) -> list[bool]:
    """Each flag is set if any process set it: clocks and signals differ between processes."""
    if world.size == 1:
        return flags
    values = torch.tensor([float(flag) for flag in flags])
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return [bool(value) for value in values.tolist()]


def mean(values: Tensor, world: World) -> Tensor:
    """Mean of a tensor over processes."""
    if world.size == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world.size
