"""The denoising loop of one clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from talkies.domain.errors import NumericalError
from talkies.sampling.guidance import Branch, Guider, Momentum
from talkies.sampling.solver import Solver

Predict = Callable[[Branch, torch.Tensor, torch.Tensor], torch.Tensor]
"""``predict(branch, latents [B, C, T, H, W], timestep [B]) -> velocity``, same shape as the latents."""

AfterStep = Callable[[int, torch.Tensor], torch.Tensor]
"""``after_step(index, latents) -> latents``: progress, or latents that are known and put back at each level."""


@torch.no_grad()
def denoise(
    predict: Predict,
    latents: torch.Tensor,
    solver: Solver,
    guider: Guider,
    after_step: AfterStep | None = None,
) -> torch.Tensor:
    """Turns noise into a clean latent.

    Args:
        predict: Runs the network for one guidance branch.
        latents: Noise at ``solver.levels[0]``, ``[B, C, T, H, W]``.
        solver: This run's solver.
        guider: Decides the branches of a step and combines them.
        after_step: Called with the step's index (0 for the first) and its result, which it may replace.

    Returns:
        The latent at the final level, same shape and dtype as ``latents``.

    Raises:
        NumericalError: A prediction contains NaN or infinity; names the step and the pass.
    """
    memory = Momentum()
    for index, level in enumerate(solver.levels[:-1]):
        timestep = level.to(latents.device).expand(latents.shape[0])  # [B]
        predictions = {}
        for branch in guider.branches:
            predictions[branch.name] = predict(branch, latents, timestep)
            # One reduction instead of a mask: the sum of a tensor with a NaN or an infinity is not finite.
            if not torch.isfinite(predictions[branch.name].sum(dtype=torch.float32)):
                raise NumericalError(
                    f"The prediction of pass '{branch.name}' at step {index + 1} is not finite.",
                    "Try dtype bfloat16 or float32; float16 overflows in this network.",
                )
        velocity, memory = guider.combine(predictions, memory)
        latents = solver.step(velocity, index, latents).to(latents.dtype)
        if after_step is not None:
            latents = after_step(index, latents)
    return latents


def clip_sample(latents: torch.Tensor, limits: Sequence[tuple[int, int, float]]) -> torch.Tensor:
    """Latents `[B, z, T, h, w]` with (first channel, one past the last, limit) kept to [-limit, limit]."""
    if not limits:
        return latents
    most = latents.new_full((latents.shape[1],), torch.inf)
    for first, stop, limit in limits:
        most[first:stop] = limit
    most = most.view(-1, 1, 1, 1)
    return latents.clamp(-most, most)
