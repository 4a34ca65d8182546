"""Reading weight files: safetensors and GGUF, mapped into memory; formats that can run code are refused."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from talkies.domain.errors import InputError, MissingDependencyError

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl")
_MAX_JSON_BYTES = 32 * 2**20


def refuse_pickle(path: Path) -> None:
    """Refuses files whose mere loading can run a program.

    Raises:
        InputError: ``path`` ends in .pth, .pt, .bin, .ckpt or .pkl; the hint says how to get a safe file.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(
            f"{path.name} is a pickle file, which can run a program while it is loaded; it was not opened.",
            "Take the .safetensors version (on Hugging Face often under the revision refs/pr/1), or convert it once: "
            "safetensors.torch.save_file(torch.load(old, weights_only=True), new).",
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of at most 32 MiB.

    Raises:
        InputError: The file is too large, not JSON, or not an object.
    """
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise InputError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; that is no configuration.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} does not hold a JSON object.")
    return data


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors or .gguf file by name.

    Safetensors are mapped, not read: memory is used when a tensor is used, and shared with the disk cache.

    Raises:
        InputError: The file is missing, damaged, or of another format.
    """
    refuse_pickle(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix.lower() == ".gguf":
        return _read_gguf(path)
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"{path.name} is neither .safetensors nor .gguf.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}.", "Download it again.") from error


def shard_files(folder: Path, stem: str = "diffusion_pytorch_model", besides: str = "") -> list[Path]:
    """The safetensors files of a sharded model.

    With an index the files it names, else every ``stem*.safetensors``; then the count in ``-00001-of-00007`` must hold.

    Args:
        folder: Where they lie.
        stem: How their names begin.
        besides: A file that an index may name too, but that is no shard.

    Raises:
        InputError: No file, or a shard is missing; names it.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise InputError(f"{index} has no weight_map of file names.")
        names = sorted(set(weight_map.values()) - {besides})
    else:
        names = sorted(path.name for path in folder.glob(f"{stem}*.safetensors"))
        names = _complete_series(names) if names else names
    if not names:
        for pickle in sorted(path for path in folder.iterdir() if path.name.startswith(stem)):
            refuse_pickle(pickle)
        raise InputError(f"{folder} holds no {stem}*.safetensors.")
    for name in names:
        if Path(name).name != name:
            raise InputError(f"{index} names a file outside its folder: {name}.")
        refuse_pickle(Path(name))
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}.", "The download is incomplete; fetch that file again.")
    return [folder / name for name in names]


def _complete_series(names: list[str]) -> list[str]:
    """Adds the names that ``-00003-of-00007`` promises, so that a missing one is noticed."""
    found = re.fullmatch(r"(.*-)\d{5}(-of-(\d{5})\.safetensors)", names[0])
    if not found:
        return names
    return [f"{found[1]}{i:05d}{found[2]}" for i in range(1, int(found[3]) + 1)]


def _read_gguf(path: Path) -> dict[str, torch.Tensor]:
    """Quantised tensors as diffusers' ``GGUFParameter`` (bytes and type), F16 and F32 as plain tensors."""
    try:
        import gguf
    except ImportError as error:
        raise MissingDependencyError("GGUF files need the package gguf.", "pip install 'talkies[gguf]'") from error
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES, GGUFParameter

    plain = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    weights: dict[str, torch.Tensor] = {}
    try:
        reader = gguf.GGUFReader(path)
        for tensor in reader.tensors:
            data = torch.from_numpy(tensor.data.copy())
            if tensor.tensor_type in plain:
                shape = reader.fields.get(f"comfy.gguf.orig_shape.{tensor.name}")  # GGUF itself ends at 4 dimensions
                weights[tensor.name] = data if shape is None else data.reshape(shape.contents())
            elif tensor.tensor_type in SUPPORTED_GGUF_QUANT_TYPES:
                weights[tensor.name] = GGUFParameter(data, quant_type=tensor.tensor_type)
            else:
                raise InputError(
                    f"{path}: {tensor.name} is stored as {tensor.tensor_type.name}, which diffusers lacks."
                )
    except (ValueError, IndexError, KeyError, OverflowError, RuntimeError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error}.", "Download it again.") from error
    return weights
