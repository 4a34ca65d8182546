"""Models from the authors' weights and back, without a second copy of the weights in memory."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights

from talkies.checkpoints.keymap import KeyMap, name_groups
from talkies.checkpoints.multitalk import RULES, transformer_config
from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

_PREFIXES = ("model.diffusion_model.", "diffusion_model.")


def load_official(
    state_dict: Mapping[str, torch.Tensor], config: Mapping[str, Any], dtype: torch.dtype | None = None
) -> MultiTalkTransformer3DModel:
    """A model from weights in the authors' naming.

    The model shares memory with ``state_dict`` wherever no conversion of dtype is asked for.

    Args:
        state_dict: Base and audio weights together, e.g. 1,303 + 330 tensors for the 14B model. A common prefix
            ``model.diffusion_model.`` is taken off. Meta tensors give a model on the meta device.
        config: The authors' constructor arguments (``dim``, ``num_heads``...), see ``transformer_config``.
        dtype: Precision of the model; None keeps each tensor's own. Norms, modulation and time embedding stay in
            float32 then, as diffusers keeps them.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: A key is unknown, missing or has another shape than ``config`` says; names every such key.
    """
    model = empty_model(transformer_config(config))
    tensors = official_keymap(model).to_ours(strip_prefix(state_dict))
    return fill(model, tensors, dtype)


def to_official(model: MultiTalkTransformer3DModel) -> dict[str, torch.Tensor]:
    """The weights of a model in the authors' naming. Tensors are shared with the model, except joined ones.

    Raises:
        InputError: The model has tensors that the authors' naming does not know, such as LoRA layers; names them.
    """
    return official_keymap(model).to_official(model.state_dict())


def official_keymap(model: MultiTalkTransformer3DModel) -> KeyMap:
    """The names of all tensors of ``model`` in both namings."""
    return KeyMap.of(RULES, model.state_dict().keys())


def strip_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Takes off the prefix that all keys share in files written by other programs."""
    for prefix in _PREFIXES:
        if state_dict and all(key.startswith(prefix) for key in state_dict):
            return {key.removeprefix(prefix): value for key, value in state_dict.items()}
    return dict(state_dict)


def empty_model(config: Mapping[str, Any]) -> MultiTalkTransformer3DModel:
    """A model whose weights take no memory (meta device); only the rotary tables exist.

    Raises:
        InputError: The model has no such setting.
    """
    known = inspect.signature(MultiTalkTransformer3DModel.__init__).parameters
    if unknown := sorted(config.keys() - known.keys()):
        raise InputError(f"The transformer's configuration has unknown settings: {', '.join(unknown)}.")
    with init_empty_weights(include_buffers=False):
        return MultiTalkTransformer3DModel(**config)


def logical_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Shape in numbers of values; quantised GGUF tensors carry theirs beside that of their bytes."""
    return tuple(getattr(tensor, "quant_shape", tensor.shape))


def fill(
    model: MultiTalkTransformer3DModel, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None
) -> MultiTalkTransformer3DModel:
    """Puts tensors (our naming) in place of a model's weights, without copying those that have the right dtype.

    Raises:
        InputError: A tensor is missing, unknown or has the wrong shape; names every one.
    """
    _check_fit(model, tensors)
    if dtype is None and any(tensor.dtype.itemsize == 1 for tensor in tensors.values()):
        raise InputError("The weights are stored in 8 bits, in which nothing can be computed.", "Name a dtype.")
    state = {name: tensor if dtype is None else tensor.to(_dtype_of(name, dtype)) for name, tensor in tensors.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def fill_quantised(
    model: MultiTalkTransformer3DModel, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> MultiTalkTransformer3DModel:
    """A model whose linear layers keep quantised GGUF weights and compute in ``dtype``.

    Args:
        model: Says which architecture; it stays empty.
        tensors: Weights in our naming, quantised ones as ``GGUFParameter``.
        dtype: Precision in which is computed, and of the weights that are not quantised.

    Raises:
        InputError: As in ``fill``.
    """
    from diffusers import GGUFQuantizationConfig
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    _check_fit(model, tensors)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    # diffusers computes with quantised weights in linear layers only.
    state = {
        name: tensor if name in linear or not hasattr(tensor, "quant_type") else dequantize_gguf_tensor(tensor)
        for name, tensor in tensors.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        model.save_config(folder)
        return MultiTalkTransformer3DModel.from_single_file(
            state, config=folder, quantization_config=GGUFQuantizationConfig(compute_dtype=dtype), torch_dtype=dtype
        )


def _check_fit(model: MultiTalkTransformer3DModel, tensors: Mapping[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = []
    if missing := expected.keys() - tensors.keys():
        problems.append(f"{len(missing)} missing: {name_groups(missing)}")
    if unknown := tensors.keys() - expected.keys():
        problems.append(f"{len(unknown)} unknown: {name_groups(unknown)}")
    for name in sorted(expected.keys() & tensors.keys()):
        if logical_shape(tensors[name]) != expected[name]:
            problems.append(f"{name} is {list(logical_shape(tensors[name]))}, expected {list(expected[name])}")
    if problems:
        raise InputError(f"The weights do not fit the model. {'. '.join(problems)}.")


def _dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    keep = MultiTalkTransformer3DModel._keep_in_fp32_modules or []
    return torch.float32 if any(part in keep for part in name.split(".")) else dtype
