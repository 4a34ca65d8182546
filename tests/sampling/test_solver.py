"""Diffusers' flow-matching schedulers in Euler's place."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from talkies.domain.errors import InputError
from talkies.sampling.denoise import denoise
from talkies.sampling.guidance import Branch, ClassifierFreeGuidance
from talkies.sampling.noise import cpu_generator, draw_noise
from talkies.sampling.schedule import shifted_levels
from talkies.sampling.solver import EulerSolver, Solver, scheduler_solver

SHAPE = (1, 4, 2, 4, 4)
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SCHEDULERS: dict[str, SchedulerMixin] = {
    "euler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    "heun": FlowMatchHeunDiscreteScheduler(),
    "unipc": UniPCMultistepScheduler(flow_shift=3.0, **FLOW),
    "dpm++": DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", flow_shift=3.0, **FLOW),
    "lcm": FlowMatchLCMScheduler(),
}
ONE_PASS = ClassifierFreeGuidance(1.0, 1.0)


def towards(clean: torch.Tensor, branch: Branch, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A perfect network: whatever the latent, its velocity leads to ``clean`` at level 0."""
    return (x - clean) / (t / 1000).clamp_min(1e-3)


def run(solver: Solver, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = cpu_generator(seed)
    clean, noise = draw_noise(SHAPE, generator), draw_noise(SHAPE, generator)
    return denoise(lambda b, x, t: towards(clean, b, x, t), noise, solver, ONE_PASS), clean


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_reaches_the_clean_latent(name: str) -> None:
    solver = scheduler_solver(SCHEDULERS[name], 6, 5.0, cpu_generator(1))
    result, clean = run(solver)
    torch.testing.assert_close(result, clean, rtol=0, atol=2e-2)
    assert solver.levels[-1] == 0
    assert bool((solver.levels.diff() <= 0).all())


@pytest.mark.parametrize("name", ["euler", "lcm"])
def test_scheduler_uses_our_levels_exactly_where_it_can(name: str) -> None:
    torch.testing.assert_close(
        scheduler_solver(SCHEDULERS[name], 8, 7.0).levels, shifted_levels(8, 7.0), rtol=0, atol=2e-3
    )


def curved(branch: Branch, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.sin(3 * x) + t / 1000 * torch.roll(x, 1, -1)


def test_diffusers_euler_is_our_euler() -> None:
    noise = draw_noise(SHAPE, cpu_generator(2))
    ours = denoise(curved, noise, EulerSolver(shifted_levels(10, 7.0)), ClassifierFreeGuidance())
    theirs = denoise(curved, noise, scheduler_solver(SCHEDULERS["euler"], 10, 7.0), ClassifierFreeGuidance())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["unipc", "dpm++", "heun"])
def test_second_order_beats_euler_on_a_curved_path(name: str) -> None:
    """At equal steps the multistep solvers lie nearer to a very fine Euler run than Euler does."""
    noise = draw_noise(SHAPE, cpu_generator(3))
    exact = denoise(curved, noise, EulerSolver(shifted_levels(2000, 3.0)), ONE_PASS)
    euler = denoise(curved, noise, EulerSolver(shifted_levels(20, 3.0)), ONE_PASS)
    better = denoise(curved, noise, scheduler_solver(SCHEDULERS[name], 20, 3.0), ONE_PASS)
    assert (better - exact).norm() < (euler - exact).norm()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_given_scheduler_is_left_alone_and_serves_many_runs(name: str) -> None:
    before = dict(SCHEDULERS[name].config)
    first = run(scheduler_solver(SCHEDULERS[name], 4, 5.0, cpu_generator(1)))[0]
    assert torch.equal(run(scheduler_solver(SCHEDULERS[name], 4, 5.0, cpu_generator(1)))[0], first)
    assert dict(SCHEDULERS[name].config) == before


@pytest.mark.parametrize("scheduler", [DDIMScheduler(), UniPCMultistepScheduler()])
def test_other_families_are_refused(scheduler: SchedulerMixin) -> None:
    with pytest.raises(InputError, match="not a flow-matching scheduler"):
        scheduler_solver(scheduler, 4, 5.0)


def test_a_scheduler_that_never_gets_clean_is_refused() -> None:
    with pytest.raises(InputError, match="not at 0"):
        scheduler_solver(DEISMultistepScheduler(**FLOW), 4, 5.0)
