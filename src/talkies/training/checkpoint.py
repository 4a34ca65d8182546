"""Checkpoints a run can go on from exactly: safetensors and JSON, no pickle, whole or absent.

A checkpoint is a folder `step-0000123` with one safetensors file per part (weights, optimiser, averages) and
`state.json`. It is written under another name and renamed when everything is on disk, so that a process killed while
saving leaves the one before in place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from talkies.domain.errors import InputError

_NAME = re.compile(r"step-(\d{7})")
STATE = "state.json"


def checkpoint_folder(root: Path, step: int) -> Path:
    """Folder of a step's checkpoint."""
    return root / f"step-{step:07d}"


def temporary_folder(root: Path, step: int) -> Path:
    """Where a step's checkpoint is written before it is renamed."""
    return root / f".step-{step:07d}.part"


def list_checkpoints(root: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    if not root.is_dir():
        return []
    found = [path for path in root.iterdir() if _NAME.fullmatch(path.name) and (path / STATE).is_file()]
    return sorted(found)


def save_checkpoint(
    root: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int
) -> Path:
    """Writes a checkpoint and removes the oldest beyond `keep`.

    Args:
        root: Folder of checkpoints.
        step: Optimiser steps done.
        parts: Tensors by name, by file.
        state: JSON values.
        keep: Checkpoints kept.

    Returns:
        Its folder.
    """
    folder = temporary_folder(root, step)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, tensors in parts.items():
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors"
        )
    return finish_checkpoint(root, step, state, keep)


def finish_checkpoint(root: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Completes a checkpoint whose tensors lie in its temporary folder."""
    folder, final = temporary_folder(root, step), checkpoint_folder(root, step)
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        _sync(path)
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    _sync(root)
    for old in list_checkpoints(root)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_state(folder: Path) -> dict[str, Any]:
    """The JSON values of a checkpoint.

    Raises:
        InputError: Missing or damaged.
    """
    try:
        return json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The checkpoint {folder} cannot be read: {error}.") from None


def load_part(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one part.

    Raises:
        InputError: Missing or damaged.
    """
    path = folder / f"{name}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"The checkpoint part {path} cannot be read: {error}.", "Use an older checkpoint.") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
