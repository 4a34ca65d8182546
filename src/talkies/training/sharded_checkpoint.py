"""Checkpoints of a sharded run: every process writes its part (torch's distributed checkpoint) as safetensors.

A run may go on with another number of processes: parts are re-cut when they are read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter

from talkies.training.checkpoint import finish_checkpoint, temporary_folder
from talkies.training.parallelize import World

_STEP = ":step"  # AdamW's counters, one equal number for every parameter
Parts = Mapping[str, Mapping[str, Tensor]]


def save_sharded(root: Path, step: int, parts: Parts, state: Mapping[str, Any], keep: int, world: World) -> None:
    """Writes a checkpoint; every process must call this. Arguments as for `save_checkpoint`."""
    folder = temporary_folder(root, step)
    if world.leads:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    dist.barrier()
    dcp.save(_flat(parts), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    counters = [float(value) for name, value in parts["optimizer"].items() if name.endswith(_STEP)]
    if world.leads:
        finish_checkpoint(root, step, {**state, "optimizer_steps": max(counters, default=0.0)}, keep)
    dist.barrier()


def load_sharded(folder: Path, parts: Parts, state: Mapping[str, Any]) -> None:
    """Reads a checkpoint into the tensors of `parts`, which must have their shapes; every process must call this."""
    dcp.load(dict(_flat(parts)), storage_reader=HuggingFaceStorageReader(str(folder)))
    for name, value in parts["optimizer"].items():
        if name.endswith(_STEP):
            value.fill_(float(state["optimizer_steps"]))


def _flat(parts: Parts) -> dict[str, Tensor]:
    return {
        f"{part}/{name}": value
        for part, tensors in parts.items()
        for name, value in tensors.items()
        if not name.endswith(_STEP)
    }
