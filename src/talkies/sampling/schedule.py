"""Noise levels of a run: the shifted flow-matching schedule, from 1000 (pure noise) down to 0 (clean)."""

from __future__ import annotations

import math

import torch

from talkies.domain.errors import InputError

NOISE_RANGE = 1000.0
"""Timestep of pure noise; the network was trained on timesteps in (0, 1000]."""


def shifted_levels(steps: int, shift: float) -> torch.Tensor:
    """Noise levels of every step and the final 0.

    ``t = linspace(1000, 1, steps)`` followed by 0, shifted towards noise: ``t' = 1000 s u / (1 + (s - 1) u)`` with
    ``u = t / 1000`` (MultiTalk; s = 7 around 480p, 11 around 720p). Equal, bit for bit, to the authors' timesteps.

    Args:
        steps: Number of denoising steps, at least 1.
        shift: s, above 0. 1 leaves the levels evenly spaced.

    Returns:
        float32 tensor of shape ``[steps + 1]``, strictly falling, on the CPU. Entry i is the timestep of step i; entry
        i + 1 the level that step i reaches.

    Raises:
        InputError: ``steps`` is below 1 or ``shift`` is not a positive number.
    """
    if steps < 1:
        raise InputError(f"{steps} denoising steps were asked for.", "Use at least 1; 40 is the paper's value.")
    if not (math.isfinite(shift) and shift > 0):
        raise InputError(f"The schedule's shift is {shift}.", "Use a positive number; 7 at 480p, 11 at 720p.")
    # Spaced in double precision and rounded once: float32 spacing differs in the last bit of some timesteps.
    even = torch.linspace(NOISE_RANGE, 1.0, steps, dtype=torch.float64).float()
    u = torch.cat([even, even.new_zeros(1)]) / NOISE_RANGE
    return shift * u / (1 + (shift - 1) * u) * NOISE_RANGE


def add_noise(clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor | float) -> torch.Tensor:
    """The flow-matching path between a clean latent and noise: ``(1 - t/1000) clean + (t/1000) noise``.

    Args:
        clean: Clean latent, any shape.
        noise: Standard normal noise that broadcasts with ``clean``.
        level: Timestep in [0, 1000], a number or a tensor that broadcasts with ``clean``.
    """
    u = level / NOISE_RANGE
    return (1 - u) * clean + u * noise
