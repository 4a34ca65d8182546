"""Noise that is the same on every machine: always drawn on the CPU, in float32, then moved."""

from __future__ import annotations

import torch


def cpu_generator(seed: int) -> torch.Generator:
    """A generator on the CPU, seeded. The one source of randomness of a run."""
    return torch.Generator(device="cpu").manual_seed(seed)


def draw_noise(
    shape: tuple[int, ...],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Standard normal noise of ``shape``.

    The values depend on the generator only, not on ``device`` (a GPU's own generator gives other numbers for the same
    seed) nor on ``dtype`` (drawn in float32, then rounded).

    Raises:
        ValueError: ``generator`` does not live on the CPU. A programming error, hence not an ``InputError``.
    """
    if generator.device.type != "cpu":
        raise ValueError(f"Noise is drawn on the CPU, but the generator lives on {generator.device}.")
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(device=device, dtype=dtype)
