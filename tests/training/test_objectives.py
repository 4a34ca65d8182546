"""Flow matching: signs, weights, and that what is asked for is what denoises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from talkies.training.batches import Batch, collate
from talkies.training.config import ObjectiveSection, Ramp
from talkies.training.objectives import denoised, flow_matching_loss, level_weight, velocity
from training_cases import CONTEXT, make_sample


@pytest.fixture
def batch() -> Batch:
    clean = collate([make_sample(0), make_sample(1)], CONTEXT, 5, None)
    noise = torch.randn(clean.latents.shape, generator=torch.Generator().manual_seed(0))
    return replace(clean, noise=noise, sigma=torch.tensor([0.9, 0.3]))


def test_the_target_is_what_the_scheduler_integrates(batch: Batch) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=4.0)
    scheduler.set_timesteps(6)
    x = batch.noise
    for t in scheduler.timesteps:
        x = scheduler.step(batch.noise - batch.latents, t, x).prev_sample
    torch.testing.assert_close(x, batch.latents, atol=1e-5, rtol=1e-5)
    exact = flow_matching_loss(batch.noise - batch.latents, batch, ObjectiveSection(), 0.0)
    assert exact.abs().max() < 1e-10


def test_both_predictions_mean_the_same(batch: Batch) -> None:
    noisy, v = batch.noisy(), batch.noise - batch.latents
    torch.testing.assert_close(denoised(v, noisy, batch.sigma, "velocity"), batch.latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(velocity(batch.latents, noisy, batch.sigma, "sample"), v, atol=1e-5, rtol=1e-5)
    guess = torch.randn_like(v)
    as_sample = denoised(guess, noisy, batch.sigma, "velocity")
    by_velocity = flow_matching_loss(guess, batch, ObjectiveSection(prediction="velocity"), 0.0)
    by_sample = flow_matching_loss(as_sample, batch, ObjectiveSection(prediction="sample"), 0.0)
    torch.testing.assert_close(by_velocity, by_sample)


def test_share_one_without_weights_is_plain_flow_matching(batch: Batch) -> None:
    plain = replace(batch, weight=torch.ones_like(batch.weight), known_mask=torch.zeros_like(batch.known_mask))
    output = torch.randn_like(batch.latents)
    expected = (output - (batch.noise - batch.latents)).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(flow_matching_loss(output, plain, ObjectiveSection(), 0.0), expected)


def test_channels_weigh_as_asked(batch: Batch) -> None:
    """Errors in a channel that weighs three times as much cost three times as much; the scale of the loss stays."""
    plain = ObjectiveSection(prediction="sample", velocity_share=Ramp())
    heavy = plain.model_copy(update={"channel_weights": ((0, 1, 3.0),)})
    errors = [batch.latents.clone() for _ in range(3)]
    errors[0][:, 0] += 0.1
    errors[1][:, 1] += 0.1
    errors[2] += 0.1
    first, second, everywhere = (flow_matching_loss(output, batch, heavy, 0.0) for output in errors)
    torch.testing.assert_close(first, 3 * second)
    torch.testing.assert_close(everywhere, flow_matching_loss(errors[2], batch, plain, 0.0))


def test_lips_and_given_frames_weigh_as_asked(batch: Batch) -> None:
    objective = ObjectiveSection(prediction="sample", velocity_share=Ramp(), lip_gain=3.0, known_frames=0.0)
    off = batch.latents.clone()
    off[:, :, 0] += 5  # given: does not count
    assert flow_matching_loss(off, batch, objective, 0.0).abs().max() == 0
    off[:, :, 1, 1, 0] += 1  # a lip cell of weight 5: 1 + 3 (5 - 1) = 13
    cells = (1 + 3 * (batch.weight[0, 1:] - 1)).sum()
    assert float(flow_matching_loss(off, batch, objective, 0.0)[0]) == pytest.approx(13 / float(cells))
    doubled = replace(batch, loss_weight=torch.tensor([2.0, 1.0]))
    assert flow_matching_loss(off, doubled, objective, 0.0)[0] == 2 * flow_matching_loss(off, batch, objective, 0.0)[0]


@given(st.floats(0.02, 1.0), st.floats(0, 1), st.floats(1, 1000))
def test_level_weights_lie_between_the_two_losses(sigma: float, share: float, cap: float) -> None:
    weight = float(level_weight(torch.tensor([sigma]), share, cap))
    assert 1 - 1e-5 <= weight <= max(1.0, min(cap, sigma**-2)) * (1 + 1e-5)
