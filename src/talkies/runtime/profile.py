"""How a model runs on the machine at hand: one frozen record, chosen from free memory and explained in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from talkies.domain.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Dtype = Literal["float32", "bfloat16", "float16"]
Offload = Literal["none", "model", "group"]
Quantization = Literal["none", "fp8", "int8"]
CacheKind = Literal["none", "first_block", "mag", "taylorseer"]

BYTES_PER_PARAMETER: Mapping[str, int] = MappingProxyType(
    {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1}
)
_GIB = 2**30
_MARGIN = 0.9
"""Share of the free memory that is planned with; fragmentation and the display take the rest."""
_GROUP_BLOCKS = 2
"""Blocks on the device at a time with group offload: the one that runs and the one that is fetched."""


@dataclass(frozen=True)
class CacheSettings:
    """Skipping parts of the network where consecutive steps agree. Trades likeness for speed; off unless asked for.

    Args:
        kind: "first_block" (skips all blocks but the first where its output hardly changes), "mag" (skips by the known
            decay of the blocks' change) or "taylorseer" (extrapolates the output over steps).
        threshold: For "first_block" the relative change below which is skipped, for "mag" the greatest accumulated
            error. 0 skips nothing that matters.
        interval: For "taylorseer": every how many steps is computed.
        warmup_steps: Leading steps that are always computed ("mag" and "taylorseer").
        num_inference_steps: Steps of a run ("mag").
        mag_ratios: For "mag": the ratios measured on this model, see ``diffusers_hooks.calibrate_mag_ratios``.
    """

    kind: CacheKind = "none"
    threshold: float = 0.05
    interval: int = 3
    warmup_steps: int = 4
    num_inference_steps: int = 40
    mag_ratios: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.threshold < 0 or self.interval < 1 or self.warmup_steps < 1 or self.num_inference_steps < 1:
            raise InputError("A cache needs a threshold from 0 and at least one step, warm-up step and interval.")
        if self.kind == "mag" and not self.mag_ratios:
            raise InputError("MagCache needs ratios measured on the model.", "Measure them with calibrate_mag_ratios.")


@dataclass(frozen=True)
class RuntimeProfile:
    """How a model runs.

    Args:
        device: "cuda", "mps", "xpu" or "cpu", with an index if need be.
        dtype: Precision in which is computed.
        offload: "none" keeps every part on the device, "model" the part that is at work, "group" two blocks of the
            transformer at a time.
        quantization: Storage of the transformer's large weights: "none", "fp8" (cast up layer by layer), "int8"
            (torchao).
        cache: Skipping computation between steps.
        compile: Whether the blocks are compiled: minutes at first, faster afterwards.
        attention: Attention backend by diffusers' name ("native", "flash", "sage"...).
    """

    device: str = "cpu"
    dtype: Dtype = "float32"
    offload: Offload = "none"
    quantization: Quantization = "none"
    cache: CacheSettings = CacheSettings()
    compile: bool = False
    attention: str = "native"

    def __post_init__(self) -> None:
        if self.device.startswith("cpu") and self.offload != "none":
            raise InputError("Offload moves weights off a device; on a CPU there is nothing to move them off.")
        if self.quantization == "int8" and self.offload == "group":
            raise InputError("torchao's int8 weights cannot be offloaded in groups.", 'Use "fp8", or offload "model".')
        if self.compile and (self.offload == "group" or self.cache.kind != "none"):
            raise InputError("Compiled blocks cannot be cached or offloaded in groups.", "Switch one of them off.")


@dataclass(frozen=True)
class ModelSize:
    """What must fit, in parameters.

    Args:
        transformer: The whole transformer.
        blocks: Its blocks together.
        largest_block: The largest of them.
        text_encoder: The text encoder.
        largest_text_layer: Its largest single layer, usually the vocabulary.
        others: The remaining parts (VAE, image and speech encoder).
        activations: Bytes of the intermediate results of one forward pass, see ``activation_bytes``.
    """

    transformer: int
    blocks: int
    largest_block: int
    text_encoder: int = 0
    largest_text_layer: int = 0
    others: int = 0
    activations: int = 0

    @classmethod
    def of(cls, components: Mapping[str, nn.Module], activations: int = 0) -> ModelSize:
        """Counts the parameters of a pipeline's components; those on the meta device count too.

        Args:
            components: By diffusers' names: "transformer", "text_encoder", and any others.
            activations: As in the class.

        Raises:
            InputError: There is no transformer.
        """
        if "transformer" not in components:
            raise InputError("There is no transformer among the components.")
        blocks = [_count(block) for block in getattr(components["transformer"], "blocks", [])]
        encoder = components.get("text_encoder")
        return cls(
            transformer=_count(components["transformer"]),
            blocks=sum(blocks),
            largest_block=max(blocks, default=0),
            text_encoder=0 if encoder is None else _count(encoder),
            largest_text_layer=0
            if encoder is None
            else max(sum(p.numel() for p in layer.parameters(recurse=False)) for layer in encoder.modules()),
            others=sum(
                _count(part) for name, part in components.items() if name not in ("transformer", "text_encoder")
            ),
            activations=activations,
        )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def activation_bytes(tokens: int, dim: int, ffn_dim: int, dtype: Dtype = "bfloat16") -> int:
    """Estimate of the intermediate results of one forward pass, from above.

    The peak lies in self-attention (hidden state, its float32 norm and modulation, query, key, value and output) or in
    the feed-forward (hidden state, norm, and the wide layer before and after its activation). A quarter is added for
    the person map, the audio and the conditions.

    Args:
        tokens: Video tokens, e.g. 32,760 for 81 frames of 832x480.
        dim: Width of the network.
        ffn_dim: Width of the feed-forward.
        dtype: Precision in which is computed.
    """
    size = BYTES_PER_PARAMETER[dtype]
    attention = dim * (3 * 4 + 6 * size)
    feed_forward = dim * (3 * 4 + 2 * size) + ffn_dim * 2 * size
    return tokens * max(attention, feed_forward) * 5 // 4


@dataclass(frozen=True)
class Plan:
    """A profile, and why.

    Args:
        profile: How to run.
        device_bytes: Estimated peak on the accelerator (0 on a CPU).
        host_bytes: Estimated peak of main memory.
        reasons: The decisions in words, one line each.
    """

    profile: RuntimeProfile
    device_bytes: int
    host_bytes: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.reasons)


def plan(model_size: ModelSize, free_vram: int, free_ram: int, device: str = "cuda") -> Plan:
    """Chooses the fastest way to run that fits.

    Tried in this order: everything on the device; one part at a time; the same with the transformer in fp8; two blocks
    at a time; the same in fp8. Without an accelerator: float32, else bfloat16.

    Args:
        model_size: What must fit.
        free_vram: Free bytes on the accelerator; 0 if there is none.
        free_ram: Free bytes of main memory.
        device: Name of the accelerator.

    Raises:
        InputError: Nothing fits; the message has the estimates.
    """
    if free_vram <= 0 or device.startswith("cpu"):
        return _plan_cpu(model_size, free_ram)
    room, host_room = _MARGIN * free_vram, _MARGIN * free_ram
    candidates = [estimate(model_size, RuntimeProfile(device, "bfloat16", *ways)) for ways in _WAYS]
    for found in candidates:
        if found.device_bytes <= room and found.host_bytes <= host_room:
            why = (_free(free_vram, free_ram, device), _WHY[found.profile.offload])
            return replace(found, reasons=(*why, *found.reasons))
    leanest = candidates[-1]
    raise InputError(
        f"The model does not fit: even the leanest way needs {_gib(leanest.device_bytes)} on {device} and "
        f"{_gib(leanest.host_bytes)} of main memory; {_gib(free_vram)} and {_gib(free_ram)} are free.",
        "Make a smaller or shorter video, use a GGUF model, or close other programs.",
    )


_WAYS: tuple[tuple[Offload, Quantization], ...] = (
    ("none", "none"),
    ("model", "none"),
    ("model", "fp8"),
    ("group", "none"),
    ("group", "fp8"),
)
_WHY: dict[Offload, str] = {
    "none": "Everything fits.",
    "model": "The parts do not fit side by side.",
    "group": "The transformer does not fit as a whole.",
}


def estimate(size: ModelSize, profile: RuntimeProfile) -> Plan:
    """What a profile needs, whoever chose it.

    Args:
        size: What must fit.
        profile: How it is to run.
    """
    plain = BYTES_PER_PARAMETER[profile.dtype]
    per_weight = plain if profile.quantization == "none" else BYTES_PER_PARAMETER[profile.quantization]
    transformer, encoder, others = size.transformer * per_weight, size.text_encoder * plain, size.others * plain
    everything = transformer + encoder + others
    stored = {
        "none": f"Weights are kept in {profile.dtype}.",
        "fp8": "Large weights are kept in fp8 and cast up when used: half the memory, a small loss of detail.",
        "int8": "Large weights are kept in int8: half the memory, a small loss of detail.",
    }[profile.quantization]
    if profile.device.startswith("cpu"):
        needed = everything + size.activations
        return Plan(profile, 0, needed, (stored, f"Estimated peak: {_gib(needed)} of main memory."))
    block = size.largest_block * per_weight
    outside_blocks = (size.transformer - size.blocks) * per_weight
    largest_text_layer = size.largest_text_layer * plain
    on_device = {
        "none": everything + size.activations,
        "model": max(transformer + size.activations, encoder, others),
        "group": others
        + max(min(_GROUP_BLOCKS * block, transformer) + outside_blocks + size.activations, largest_text_layer),
    }[profile.offload]
    # Weights pass through main memory piece by piece where they stay on the device, and live there otherwise.
    on_host = max(block, largest_text_layer) if profile.offload == "none" else everything
    where = {
        "none": "All parts stay on the device.",
        "model": "One part at a time is on the device.",
        "group": f"{_GROUP_BLOCKS} blocks at a time are on the device.",
    }[profile.offload]
    peak = f"Estimated peak: {_gib(on_device)} on the device, {_gib(on_host)} of main memory."
    return Plan(profile, on_device, on_host, (where, stored, peak))


def plan_as_chosen(size: ModelSize, profile: RuntimeProfile, free_vram: int, free_ram: int) -> Plan:
    """The plan of a profile that somebody chose: it is followed even where the estimate exceeds what is free, which
    the reasons say then."""
    found = estimate(size, profile)
    over = found.host_bytes > _MARGIN * free_ram or found.device_bytes > _MARGIN * free_vram > 0
    warning = ("More than is safely free: chosen, so it is tried.",) if over else ()
    return replace(found, reasons=(_free(free_vram, free_ram, profile.device), *found.reasons, *warning))


def _plan_cpu(size: ModelSize, free_ram: int) -> Plan:
    needed = 0
    choices: tuple[tuple[Dtype, str], ...] = (
        ("float32", "That is the fastest on most CPUs."),
        ("bfloat16", "Float32 does not fit."),
    )
    for dtype, why in choices:
        found = estimate(size, RuntimeProfile(device="cpu", dtype=dtype))
        needed = found.host_bytes
        if needed <= _MARGIN * free_ram:
            kept, peak = found.reasons
            return replace(found, reasons=(_free(0, free_ram, "cpu"), f"{kept} {why}", peak))
    raise InputError(
        f"The model does not fit: it needs {_gib(needed)} of main memory in bfloat16, {_gib(free_ram)} are free.",
        "Use a machine with a GPU, or a smaller model.",
    )


def _free(free_vram: int, free_ram: int, device: str) -> str:
    if device.startswith("cpu"):
        return f"No accelerator; {_gib(free_ram)} of main memory are free."
    return f"{_gib(free_vram)} of {device} memory and {_gib(free_ram)} of main memory are free."


def _gib(size: float) -> str:
    """Rounded up: an estimate must not look smaller than it is."""
    return f"{math.ceil(size / _GIB * 10) / 10:.1f} GiB"
