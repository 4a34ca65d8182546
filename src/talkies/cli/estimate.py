"""What a run will take, before it starts: memory from the sizes of things, time from this machine's measured speed."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from talkies.cli.model_folder import ModelFolder
from talkies.domain.clip import TEMPORAL_STRIDE, FrameSize

if TYPE_CHECKING:
    import torch

    from talkies.sampling.segments import SegmentPlan

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "I64": 8, "I32": 4}
#: Share of a plain matrix product's speed that a whole network reaches, measured with the tiny and the small model.
_EFFICIENCY = 0.5
#: Live copies of a token's hidden state in a transformer block, and of a decoded frame in the video autoencoder.
_LIVE_STATES, _LIVE_FRAMES = 14, 24


@dataclass(frozen=True)
class Estimate:
    """About what a run takes.

    Attributes:
        weights: Bytes of all weights in the precision used.
        working: Bytes besides them at the peak; does not grow with the video's length.
        seconds: Of computing.
    """

    weights: int
    working: int
    seconds: float

    @property
    def memory(self) -> int:
        """Bytes at the peak."""
        return self.weights + self.working


def estimate(
    model: ModelFolder, segments: SegmentPlan, size: FrameSize, steps: int, passes: int, speed: float, width: int
) -> Estimate:
    """Estimates a run.

    Args:
        model: The model.
        segments: The video's segments.
        size: Of the frames.
        steps: Denoising steps per segment.
        passes: Network calls per step.
        speed: Of the device, in floating point operations a second, from `measure_speed`.
        width: Bytes of a number in the precision used.
    """
    side = model.size_multiple
    tokens_per_frame = (size.width // side) * (size.height // side)
    operations = 0.0
    longest = 0
    for segment in segments.segments:
        tokens = ((segment.num_frames - 1) // TEMPORAL_STRIDE + 1) * tokens_per_frame
        longest = max(longest, tokens)
        operations += steps * passes * _operations(model, tokens)
    transformer = model.config("transformer")
    hidden = _hidden(transformer)
    working = longest * (hidden * _LIVE_STATES + 2 * int(transformer.get("ffn_dim", 4 * hidden))) * max(width, 2)
    frames = max(segment.num_frames for segment in segments.segments)
    working += frames * size.width * size.height * 3 * 4 * _LIVE_FRAMES // 4
    weights = sum(_stored_numbers(path) for path in model.weight_files()) * width
    return Estimate(weights, working, operations / (speed * _EFFICIENCY))


def _hidden(transformer: dict[str, object]) -> int:
    return int(str(transformer.get("num_attention_heads", 40))) * int(str(transformer.get("attention_head_dim", 128)))


def _operations(model: ModelFolder, tokens: int) -> float:
    """Floating point operations of one network call: products with weights, and attention among all tokens."""
    transformer = model.config("transformer")
    hidden, layers = _hidden(transformer), int(transformer.get("num_layers", 40))
    ffn = int(transformer.get("ffn_dim", 4 * hidden))
    # Self-attention has four square products, the two cross-attentions two each on the video's side.
    weights = 8 * hidden * hidden + 2 * hidden * ffn
    return layers * (2.0 * tokens * weights + 4.0 * tokens * tokens * hidden)


def _stored_numbers(path: Path) -> int:
    """How many numbers a safetensors file holds."""
    total = 0
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100_000_000)))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                total += (end - begin) // _BYTES.get(entry["dtype"], 2)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return path.stat().st_size // 2
    return total


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
