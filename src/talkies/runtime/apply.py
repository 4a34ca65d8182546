"""Puts a profile into effect on a pipeline."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.hooks import apply_group_offloading

from talkies.domain.errors import InputError, MissingDependencyError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.diffusers_hooks import enable_cache
from talkies.runtime.profile import RuntimeProfile

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def apply_profile(pipeline: DiffusionPipeline, profile: RuntimeProfile) -> None:
    """Casts, quantises, caches, compiles and places the parts of a pipeline, in this order. Call it once.

    The VAE and the image and speech encoders keep their own precision: they are small, and the VAE loses colour in
    lower ones.

    Args:
        pipeline: With at least a ``transformer``.
        profile: How to run.

    Raises:
        InputError: The attention backend does not exist or its package is missing.
        MissingDependencyError: int8 without torchao.
    """
    parts: dict[str, Any] = pipeline.components
    transformer = parts["transformer"]
    prepare_transformer(transformer, profile)
    if isinstance(encoder := parts.get("text_encoder"), torch.nn.Module):
        encoder.to(_DTYPES[profile.dtype])
    match profile.offload:
        case "none":
            pipeline.to(profile.device)
        case "model":
            pipeline.enable_model_cpu_offload(device=profile.device)
        case "group":
            _offload_groups(parts, profile)


def prepare_transformer(transformer: MultiTalkTransformer3DModel, profile: RuntimeProfile) -> None:
    """Everything of a profile that concerns the transformer but its place: dtype, storage, attention, cache, compile.

    Raises:
        InputError: As in ``apply_profile``.
        MissingDependencyError: As in ``apply_profile``.
    """
    dtype = _DTYPES[profile.dtype]
    cast_transformer(transformer, dtype)
    if profile.quantization == "fp8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    elif profile.quantization == "int8":
        quantize_int8(transformer)
    if profile.attention != "native":
        try:
            transformer.set_attention_backend(profile.attention)
        except (ValueError, RuntimeError, ImportError) as error:
            raise InputError(
                f"Attention backend {profile.attention!r} cannot be used: {error}",
                'Use "native", which is always there.',
            ) from error
    enable_cache(transformer, profile.cache)
    if profile.compile:
        transformer.compile_repeated_blocks(fullgraph=True)


def cast_transformer(transformer: MultiTalkTransformer3DModel, dtype: torch.dtype) -> None:
    """Casts weights in place, except those that must stay in float32 and those that are quantised.

    ``transformer.to(dtype)`` would round norms, modulation and time embedding too.
    """
    keep = set(transformer._keep_in_fp32_modules or ())
    for name, parameter in transformer.named_parameters():
        if type(parameter) is torch.nn.Parameter and parameter.dtype.itemsize > 1:
            parameter.data = parameter.data.to(torch.float32 if keep.intersection(name.split(".")) else dtype)


def quantize_int8(transformer: torch.nn.Module) -> None:
    """Stores the linear weights of the blocks in int8, one scale per output channel (torchao, weight only).

    Raises:
        MissingDependencyError: torchao is not installed.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise MissingDependencyError("int8 needs the package torchao.", "pip install 'talkies[gpu]'") from error

    def in_blocks(module: torch.nn.Module, name: str) -> bool:
        return isinstance(module, torch.nn.Linear) and name.startswith("blocks.")

    quantize_(transformer, Int8WeightOnlyConfig(), filter_fn=in_blocks)


def _offload_groups(parts: dict[str, Any], profile: RuntimeProfile) -> None:
    """Transformer in blocks, text encoder in layers, both fetched ahead on CUDA; the rest stays on the device."""
    device = torch.device(profile.device)
    stream = device.type == "cuda"
    for name, part in parts.items():
        if not isinstance(part, torch.nn.Module):
            continue
        if name == "transformer":
            apply_group_offloading(part, device, offload_type="block_level", num_blocks_per_group=1, use_stream=stream)
        elif name == "text_encoder":
            apply_group_offloading(part, device, offload_type="leaf_level", use_stream=stream)
        else:
            part.to(device)
