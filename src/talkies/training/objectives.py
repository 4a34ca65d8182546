"""Flow matching: what the network is asked to predict, and how its error is weighed.

Signs follow diffusers' `FlowMatchEulerDiscreteScheduler`: x_t = (1 - sigma) x_0 + sigma noise, the velocity is
v = noise - x_0, and a sampling step is x <- x + (sigma_next - sigma) v.
"""

from __future__ import annotations

import torch
from torch import Tensor

from talkies.training.batches import Batch
from talkies.training.config import ObjectiveSection


def velocity(output: Tensor, noisy: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The network's output as a velocity.

    Args:
        output: `[B, z, T, h, w]`.
        noisy: x_t, same shape.
        sigma: `[B]`, above 0.
        prediction: `velocity`, or `sample` for a network that predicts the clean latents: v = (x_t - x_0) / sigma.
    """
    if prediction == "velocity":
        return output
    return (noisy - output) / sigma.view(-1, 1, 1, 1, 1)


def denoised(output: Tensor, noisy: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The network's output as clean latents: x_0 = x_t - sigma v. Arguments as for `velocity`."""
    if prediction == "sample":
        return output
    return noisy - sigma.view(-1, 1, 1, 1, 1) * output


def level_weight(sigma: Tensor, share: float, cap: float | None) -> Tensor:
    """Weight of the squared error of the clean latents at each noise level, `[B]`.

    (1 - share) + share * min(1 / sigma^2, cap): share 1 without cap is the plain velocity loss, share 0 weighs all
    levels alike in the space of clean latents.
    """
    in_velocity = sigma.square().reciprocal()
    if cap is not None:
        in_velocity = in_velocity.clamp(max=cap)
    return (1 - share) + share * in_velocity


def _channel_weights(objective: ObjectiveSection, like: Tensor) -> Tensor:
    """Of mean 1, `[1, z, 1, 1, 1]` for latents `[B, z, T, h, w]`."""
    weights = like.new_ones(like.shape[1])
    for first, stop, weight in objective.channel_weights:
        weights[first:stop] = weight
    return (weights / weights.mean()).view(1, -1, 1, 1, 1)


def flow_matching_loss(output: Tensor, batch: Batch, objective: ObjectiveSection, progress: float) -> Tensor:
    """Loss of each sample, `[B]`.

    Every sample is normalised by its own weights, so that the mean over a batch does not depend on how the batch is
    split over processes or accumulation steps.

    Args:
        output: The network's output `[B, z, T, h, w]`.
        batch: What it was given.
        objective: Weights and meaning of the output.
        progress: Share of the run that is done, in [0, 1].
    """
    sigma = batch.sigma
    error = denoised(output.float(), batch.noisy(), sigma, objective.prediction) - batch.latents
    squared = (error.square() * _channel_weights(objective, error)).mean(dim=1)  # [B, T, h, w]
    cells = 1 + objective.lip_gain * (batch.weight - 1)
    cells = cells * torch.where(batch.known_mask > 0, objective.known_frames, 1.0)[:, :, None, None]
    per_sample = (squared * cells).sum(dim=(1, 2, 3)) / cells.sum(dim=(1, 2, 3))
    share = objective.velocity_share.at(progress)
    return per_sample * level_weight(sigma, share, objective.velocity_cap) * batch.loss_weight
