"""Models from the authors' weights and back, without a second copy of the weights in memory."""

from __future__ import annotations

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
    """A model whose weights take no memory (meta device); only the rotary tables exist."""
    with init_empty_weights(include_buffers=False):
        return MultiTalkTransformer3DModel(**config)


def fill(
    model: MultiTalkTransformer3DModel, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None
) -> MultiTalkTransformer3DModel:
    """Puts tensors (our naming) in place of a model's weights, without copying those that have the right dtype.

    Raises:
        InputError: A tensor is missing, unknown or has the wrong shape; names every one.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = []
    if missing := expected.keys() - tensors.keys():
        problems.append(f"{len(missing)} missing: {name_groups(missing)}")
    if unknown := tensors.keys() - expected.keys():
        problems.append(f"{len(unknown)} unknown: {name_groups(unknown)}")
    for name in sorted(expected.keys() & tensors.keys()):
        if tuple(tensors[name].shape) != expected[name]:
            problems.append(f"{name} is {list(tensors[name].shape)}, expected {list(expected[name])}")
    if problems:
        raise InputError(f"The weights do not fit the model. {'. '.join(problems)}.")
    state = {name: tensor if dtype is None else tensor.to(_dtype_of(name, dtype)) for name, tensor in tensors.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    keep = MultiTalkTransformer3DModel._keep_in_fp32_modules or []
    return torch.float32 if any(part in keep for part in name.split(".")) else dtype
