"""What a run will take, before it starts: from the sizes of things and this machine's measured speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from talkies.cli.model_folder import ModelFolder
from talkies.domain.clip import TEMPORAL_STRIDE, FrameSize
from talkies.domain.motion_grid import area_of

if TYPE_CHECKING:
    import torch

    from talkies.sampling.segments import SegmentPlan

#: Share of a plain matrix product's speed that a whole network reaches.
_EFFICIENCY = 0.35
#: Operations for every pixel of the video, besides the network: decoding, painting faces, writing. From the demo with
#: 2 and with 8 steps on one thread (26 and 34 s of processor time, 6 of them before the first frame; 2026-11-28).
_OPERATIONS_A_PIXEL = 10_000.0


def expected_seconds(
    model: ModelFolder,
    segments: SegmentPlan,
    size: FrameSize,
    people: int,
    steps: int,
    passes: Sequence[int],
    speed: float,
) -> float:
    """About how long generating takes once the model is loaded, in seconds.

    Args:
        model: The model.
        segments: The video's segments.
        size: Of the frames.
        people: In the picture.
        steps: Denoising steps per segment.
        passes: Network calls per step of each segment.
        speed: Of the device, in floating point operations a second, from `measure_speed`.
    """
    operations = sum(s.kept_frames for s in segments.segments) * size.width * size.height * _OPERATIONS_A_PIXEL
    for segment, calls in zip(segments.segments, passes, strict=True):
        operations += steps * calls * _operations(model, tokens_of(model, size, people, segment.num_frames))
    return operations / (speed * _EFFICIENCY)


def tokens_of(model: ModelFolder, size: FrameSize, people: int, frames: int) -> int:
    """Video tokens of a clip of `frames` frames; about, where faces decide how finely motion is generated."""
    side, area = model.size_multiple, size.width * size.height
    length = model.config("vae").get("face_length")
    if isinstance(length, float | int):
        area = round(area_of(people, length))
    return ((frames - 1) // TEMPORAL_STRIDE + 1) * max(1, area // side**2)


def activation_bytes_of(model: ModelFolder, segments: SegmentPlan, size: FrameSize, people: int) -> int:
    """Bytes of one forward pass of the longest segment; they do not grow with the video."""
    from talkies.runtime.profile import activation_bytes

    hidden = _hidden(model)
    longest = max(segment.num_frames for segment in segments.segments)
    # Decoding holds the segment's frames a few times over, in float32.
    decoded = longest * size.width * size.height * 3 * 4 * 6
    ffn = model.number("transformer", "ffn_dim", 4 * hidden)
    return max(activation_bytes(tokens_of(model, size, people, longest), hidden, ffn, "float32"), decoded)


def _hidden(model: ModelFolder) -> int:
    heads = model.number("transformer", "num_attention_heads", 40)
    return heads * model.number("transformer", "attention_head_dim", 128)


def _operations(model: ModelFolder, tokens: int) -> float:
    """Floating point operations of one network call: products with weights, and attention among all tokens."""
    hidden, layers = _hidden(model), model.number("transformer", "num_layers", 40)
    ffn = model.number("transformer", "ffn_dim", 4 * hidden)
    # Self-attention has four square products, the two cross-attentions two each on the video's side.
    weights = 8 * hidden * hidden + 2 * hidden * ffn
    return layers * (2.0 * tokens * weights + 4.0 * tokens * tokens * hidden)


def measure_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second this device does in matrix products, from a fifth of a second of them."""
    import torch

    side = 4096 if device.type == "cuda" else 768
    a = torch.randn(side, side, device=device).to(dtype)
    torch.mm(a, a)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.2:
        product = torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()
        done += 1
    elapsed = time.perf_counter() - started
    del product
    return done * 2.0 * side**3 / elapsed


def spell_bytes(count: float) -> str:
    """`1.5 GB`, `40 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"


def spell_seconds(seconds: float) -> str:
    """`3 h 05 min`, `4 min 10 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{max(whole, 1)} s"
