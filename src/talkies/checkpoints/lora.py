"""LoRA files for Wan, in the key formats in circulation, with an audit: every key is matched or named.

Formats: lightx2v's (``diffusion_model.blocks.0.self_attn.q.lora_down.weight``, ``.lora_up.weight``, ``.alpha``, and
whole differences ``.diff``, ``.diff_b``, ``.diff_m``), FusionX's (``.lora_A.weight``, ``.lora_B.weight``), those of the
kohya family (``lora_unet_blocks_0_self_attn_q``), diffusers' own (``transformer.blocks.0.attn1.to_q.lora_A.weight``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from talkies.checkpoints.files import read_weights
from talkies.checkpoints.keymap import name_groups
from talkies.checkpoints.multitalk import RULES
from talkies.domain.errors import InputError, MissingDependencyError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

_PREFIX = re.compile(r"^(model\.diffusion_model\.|diffusion_model\.|transformer\.|base_model\.model\.|lora_unet_)")
_SUFFIX = re.compile(
    r"^(?P<module>.+?)\.(?:"
    r"(?P<down>(?:lora_down|lora_A|lora\.down)(?:\.default)?\.weight)|"
    r"(?P<up>(?:lora_up|lora_B|lora\.up)(?:\.default)?\.weight)|"
    r"(?P<up_bias>(?:lora_up|lora_B|lora\.up)(?:\.default)?\.bias)|"
    r"(?P<alpha>alpha)|(?P<weight>diff)|(?P<bias>diff_b)|(?P<table>diff_m))$"
)


@dataclass(frozen=True, eq=False)
class LowRank:
    """A change of one weight: ``scale * up @ down``.

    Args:
        module: Module of our model whose weight changes.
        down: ``[rank, in, ...]``.
        up: ``[out, rank, ...]``.
        scale: ``alpha / rank``, or 1 where the file has no alpha.
        up_bias: ``[out]``, added to the bias times ``scale``; None where the file has none.
    """

    module: str
    down: torch.Tensor
    up: torch.Tensor
    scale: float
    up_bias: torch.Tensor | None = None

    def difference(self) -> torch.Tensor:
        """What is added to the weight, float32, ``[out, in * ...]``."""
        return self.scale * (self.up.flatten(1).float() @ self.down.flatten(1).float())


@dataclass(frozen=True)
class LoraAudit:
    """What became of every key of a LoRA file.

    Args:
        matched: Keys that change the model.
        idle: Keys whose difference is zero throughout: they fit and change nothing.
        unmatched: Keys that have no place in the model.
    """

    matched: tuple[str, ...]
    idle: tuple[str, ...]
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.matched)} keys matched, {len(self.idle)} without effect, {len(self.unmatched)} unmatched"
        return f"{text}: {name_groups(self.unmatched)}" if self.unmatched else text


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA read against a model.

    Args:
        layers: Low-rank changes of weights.
        differences: Whole differences by parameter name of our model; those that are zero are left out.
        audit: What became of every key.
    """

    layers: tuple[LowRank, ...]
    differences: Mapping[str, torch.Tensor]
    audit: LoraAudit


def load_lora(
    model: MultiTalkTransformer3DModel,
    source: str | Path | Mapping[str, torch.Tensor],
    *,
    name: str = "default",
    scale: float = 1.0,
    how: Literal["fuse", "adapter"] = "fuse",
    allow_unmatched: bool = False,
) -> LoraAudit:
    """Reads a LoRA and applies it to a model in place.

    Args:
        model: The transformer.
        source: A .safetensors file, or its tensors.
        name: Name of the adapter.
        scale: Strength, 1 as trained.
        how: "fuse" adds the change to the weights once and for all: no cost afterwards. "adapter" keeps it beside them
            (peft): works on quantised weights, and can be switched off (``model.set_adapters``, ``unload_lora``).
        allow_unmatched: True applies the part that fits and leaves the rest to the audit.

    Returns:
        What became of every key.

    Raises:
        InputError: The file is unsafe or damaged, was made for a model of another size, has unmatched keys that are
            not allowed, or changes something that ``how`` cannot change.
    """
    lora = read_lora(model, source)
    if not lora.audit.matched:
        raise InputError("No key of the LoRA fits the model.", f"It was made for another network. {lora.audit}.")
    if lora.audit.unmatched and not allow_unmatched:
        raise InputError(
            f"The LoRA has keys without a place in the model. {lora.audit}.", "allow_unmatched=True applies the rest."
        )
    if how == "fuse":
        fuse_lora(model, lora, scale)
    else:
        add_lora(model, lora, name, scale)
    return lora.audit


def read_lora(model: MultiTalkTransformer3DModel, source: str | Path | Mapping[str, torch.Tensor]) -> Lora:
    """Sorts the keys of a LoRA by what they change in ``model``; nothing is changed yet.

    Raises:
        InputError: The file is unsafe or damaged, or a change has another shape than the weight it is for.
    """
    tensors = source if isinstance(source, Mapping) else read_weights(Path(source))
    names = _ModuleNames(model)
    parts: dict[str, dict[str, str]] = {}  # module in the file -> kind -> key
    differences: dict[str, torch.Tensor] = {}
    matched, idle, unmatched = [], [], []
    for key, tensor in tensors.items():
        found = _SUFFIX.match(_PREFIX.sub("", key))
        kind = found.lastgroup if found else None
        if not found or kind is None:
            unmatched.append(key)
        elif kind in ("down", "up", "alpha", "up_bias"):
            parts.setdefault(found["module"], {})[kind] = key
        elif not (targets := names.parameters(found["module"], kind)):
            unmatched.append(key)
        elif not tensor.any():
            idle.append(key)
        else:
            matched.append(key)
            pieces = tensor.chunk(len(targets)) if len(targets) > 1 else (tensor,)
            for target, piece in zip(targets, pieces, strict=True):
                names.check(key, target, tuple(piece.shape))
                differences[target] = piece
    layers: list[LowRank] = []
    for module, keys in parts.items():
        targets = names.modules(module)
        if not targets or "down" not in keys or "up" not in keys:
            unmatched += keys.values()
            continue
        matched += keys.values()
        layers += _low_rank(targets, {kind: tensors[key] for kind, key in keys.items()})
        for layer in layers[-len(targets) :]:
            shape = (layer.up.shape[0], *layer.down.shape[1:])
            names.check(keys["up"], f"{layer.module}.weight", shape)
    audit = LoraAudit(tuple(sorted(matched)), tuple(sorted(idle)), tuple(sorted(unmatched)))
    return Lora(tuple(layers), differences, audit)


def _low_rank(targets: tuple[str, ...], parts: Mapping[str, torch.Tensor]) -> list[LowRank]:
    """One change for each target; a joined official weight (``kv_linear``) has one ``down`` and its ``up`` is cut."""
    down = parts["down"]
    scale = float(parts["alpha"]) / down.shape[0] if "alpha" in parts else 1.0
    ups = parts["up"].chunk(len(targets))
    bias = parts.get("up_bias")
    biases = [None] * len(targets) if bias is None else list(bias.chunk(len(targets)))
    return [LowRank(targets[i], down, ups[i], scale, biases[i]) for i in range(len(targets))]


@torch.no_grad()
def fuse_lora(model: MultiTalkTransformer3DModel, lora: Lora, scale: float = 1.0) -> None:
    """Adds a LoRA to the weights, whole differences included, computed in float32.

    Raises:
        InputError: A weight that changes is quantised.
    """
    parameters = dict(model.named_parameters())
    changes = [f"{layer.module}.weight" for layer in lora.layers] + list(lora.differences)
    for name in changes:
        parameter = parameters.get(name)
        if parameter is None or type(parameter.data) is not torch.Tensor or parameter.dtype.itemsize == 1:
            raise InputError(
                f"{name} is quantised or already carries an adapter.", 'Apply the LoRA with how="adapter".'
            )
    for layer in lora.layers:
        _add(parameters[f"{layer.module}.weight"], scale * layer.difference())
        if layer.up_bias is not None:
            _add(parameters[f"{layer.module}.bias"], scale * layer.scale * layer.up_bias.float())
    for name, difference in lora.differences.items():
        _add(parameters[name], scale * difference.float())


def _add(parameter: torch.nn.Parameter, change: torch.Tensor) -> None:
    total = parameter.float() + change.to(parameter.device).reshape(parameter.shape)
    parameter.copy_(total)


def add_lora(model: MultiTalkTransformer3DModel, lora: Lora, name: str = "default", scale: float = 1.0) -> None:
    """Puts a LoRA beside the weights as a peft adapter, which can be weighed, switched off and removed.

    Raises:
        InputError: The LoRA changes norms or tables, which an adapter cannot; names them.
        MissingDependencyError: peft is not installed.
    """
    modules = {layer.module for layer in lora.layers}
    biases = {f"{module}.bias" for module in modules}
    if others := lora.differences.keys() - biases:
        raise InputError(
            f"The LoRA changes {len(others)} parameters as a whole, which an adapter cannot: {name_groups(others)}.",
            'Apply it with how="fuse".',
        )
    with_bias = bool(lora.differences) or any(layer.up_bias is not None for layer in lora.layers)
    state: dict[str, torch.Tensor] = {}
    for layer in lora.layers:
        state[f"{layer.module}.lora_A.weight"] = layer.down
        # peft knows one alpha for each rank; the scale goes into the weights instead.
        state[f"{layer.module}.lora_B.weight"] = layer.up * layer.scale
        if with_bias:
            bias = lora.differences.get(f"{layer.module}.bias", layer.up.new_zeros(layer.up.shape[0]))
            extra = 0 if layer.up_bias is None else layer.scale * layer.up_bias
            state[f"{layer.module}.lora_B.bias"] = bias + extra
    try:
        model.load_lora_adapter(state, prefix=None, adapter_name=name)
    except ImportError as error:
        raise MissingDependencyError("LoRA adapters need the package peft.", "pip install 'talkies[lora]'") from error
    model.set_adapters([name], [scale])


class _ModuleNames:
    """Finds the modules and parameters of a model by any name in circulation."""

    def __init__(self, model: MultiTalkTransformer3DModel) -> None:
        self.shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        self._modules: dict[str, tuple[str, ...]] = {}
        self._tables: dict[str, str] = {}
        present = {name.rpartition(".")[0] for name in self.shapes}
        self._add((module, (module,)) for module in present if module)
        for rule in RULES:
            for i in range(model.config.num_layers if "{i}" in rule.official else 1):
                official = rule.official.replace("{i}", str(i))
                ours = tuple(name.replace("{i}", str(i)) for name in rule.ours)
                if rule.parameters:
                    self._add([(official, ours)] if set(ours) <= present else [])
                elif ours[0] in self.shapes:
                    self._tables[official.rpartition(".")[0]] = self._tables[official] = ours[0]

    def _add(self, entries: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        for name, ours in entries:
            self._modules[name] = self._modules[name.replace(".", "_")] = ours

    def modules(self, name: str) -> tuple[str, ...]:
        """Modules of the model behind a name in a file; empty if there are none."""
        return self._modules.get(name) or self._modules.get(name.replace(".", "_"), ())

    def parameters(self, module: str, kind: str) -> tuple[str, ...]:
        """Parameters that a whole difference changes: weight, bias, or a block's modulation table."""
        if kind == "table" or (kind == "weight" and module in self._tables and not self.modules(module)):
            return (self._tables[module],) if module in self._tables else ()
        found = tuple(f"{name}.{kind}" for name in self.modules(module))
        return found if all(name in self.shapes for name in found) else ()

    def check(self, key: str, parameter: str, shape: tuple[int, ...]) -> None:
        """Raises InputError where a change does not have the shape of what it changes."""
        expected = self.shapes[parameter]
        if math.prod(shape) != math.prod(expected) or shape[0] != expected[0]:
            raise InputError(
                f"{key} is made for {list(shape)}, but {parameter} is {list(expected)}.",
                "The LoRA belongs to a model of another size.",
            )
