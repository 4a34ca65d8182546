"""Solvers: how a step moves the latent. Euler is the paper's; flow-matching schedulers of diffusers can replace it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from talkies.domain.errors import InputError
from talkies.sampling.schedule import NOISE_RANGE, shifted_levels


class Solver(Protocol):
    """Moves a latent from one noise level to the next. One solver serves one run from the first step to the last."""

    @property
    def levels(self) -> torch.Tensor:
        """float32 ``[n + 1]`` on the CPU: the timestep of each of the n network calls, then the final level."""
        ...

    def step(self, velocity: torch.Tensor, index: int, sample: torch.Tensor) -> torch.Tensor:
        """The latent at ``levels[index + 1]``.

        Args:
            velocity: Guided prediction at ``levels[index]``, ``[B, C, T, H, W]``; points from clean to noise.
            index: 0 at the first step.
            sample: The latent at ``levels[index]``, same shape.
        """
        ...


class FlowScheduler(Protocol):
    """What is needed of a diffusers scheduler (``FlowMatchEulerDiscreteScheduler``, ``UniPCMultistepScheduler``...)."""

    config: Any
    timesteps: torch.Tensor
    sigmas: torch.Tensor

    def set_timesteps(self, *args: Any, **kwargs: Any) -> Any: ...

    def step(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class EulerSolver:
    """Euler's method: ``x <- x - v (t_i - t_{i+1}) / 1000`` (MultiTalk). Keeps nothing between steps.

    Args:
        levels: Falling noise levels in [0, 1000], ``[n + 1]``, as ``shifted_levels`` gives them.
    """

    levels: torch.Tensor

    def step(self, velocity: torch.Tensor, index: int, sample: torch.Tensor) -> torch.Tensor:
        distance = (self.levels[index] - self.levels[index + 1]) / NOISE_RANGE
        return sample - velocity * distance.to(sample.device)


@dataclass(frozen=True, eq=False)
class SchedulerSolver:
    """A flow-matching scheduler of diffusers in Euler's place. Make one per run with ``scheduler_solver``.

    Args:
        scheduler: This run's own scheduler, its timesteps set. Multistep schedulers keep their history in it.
        levels: As in ``Solver``.
        generator: CPU generator for schedulers that add noise in a step (LCM), else unused.
    """

    scheduler: FlowScheduler
    levels: torch.Tensor
    generator: torch.Generator | None = None
    _options: dict[str, Any] = field(default_factory=dict, repr=False)

    def step(self, velocity: torch.Tensor, index: int, sample: torch.Tensor) -> torch.Tensor:
        timestep = self.scheduler.timesteps[index]
        stepped = self.scheduler.step(velocity, timestep, sample, return_dict=False, **self._options)
        return stepped[0].to(sample.dtype)


def scheduler_solver(
    scheduler: FlowScheduler, steps: int, shift: float, generator: torch.Generator | None = None
) -> SchedulerSolver:
    """Puts a diffusers scheduler in Euler's place.

    The scheduler is copied from its configuration: the one passed in is left as it is and can serve many runs.
    ``FlowMatchEulerDiscreteScheduler`` and ``FlowMatchLCMScheduler`` get exactly ``shifted_levels``. The others space
    the levels themselves, with the same shift: multistep solvers work in log-SNR, where the paper's last level before
    0 is so far off that they lose to Euler.

    Args:
        scheduler: ``FlowMatch*Scheduler``, or a multistep scheduler made with ``use_flow_sigmas=True`` and
            ``prediction_type="flow_prediction"``.
        steps: Number of steps, at least 1. Heun calls the network ``2 * steps - 1`` times.
        shift: As in ``shifted_levels``.
        generator: CPU generator for schedulers that add noise.

    Raises:
        InputError: The scheduler is not of the flow-matching family or does not end at a clean latent, or ``steps`` or
            ``shift`` is out of range.
    """
    levels = shifted_levels(steps, shift)
    shift_name = _shift_argument(scheduler)
    takes_levels = shift_name == "shift" and "sigmas" in inspect.signature(scheduler.set_timesteps).parameters
    changes = {shift_name: 1.0 if takes_levels else shift, "use_dynamic_shifting": False}
    own: Any = type(scheduler).from_config(scheduler.config, **changes)  # type: ignore[attr-defined]
    if takes_levels:
        own.set_timesteps(sigmas=(levels[:-1] / NOISE_RANGE).tolist())
    else:
        own.set_timesteps(num_inference_steps=steps)
    if own.sigmas[-1] != 0:
        raise InputError(
            f"{type(own).__name__} stops at noise level {own.sigmas[-1] * NOISE_RANGE:.0f} of 1000, not at 0.",
            'Give it final_sigmas_type="zero" if it has that setting, or use another scheduler.',
        )
    # Multistep schedulers round their timesteps to whole numbers; the network gets the exact level instead. Counting
    # steps from a set beginning keeps the scheduler from searching for the (rounded) timestep.
    own.set_begin_index(0)
    options = {"generator": generator} if "generator" in inspect.signature(own.step).parameters else {}
    return SchedulerSolver(own, own.sigmas.float().cpu() * NOISE_RANGE, generator, options)


def _shift_argument(scheduler: FlowScheduler) -> str:
    """Name of the configuration entry that holds the shift; refuses schedulers that are not flow matching."""
    name = type(scheduler).__name__
    config = scheduler.config
    if name.startswith("FlowMatch") and "shift" in config:
        return "shift"
    if config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction":
        return "flow_shift"
    raise InputError(
        f"{name} with its present configuration is not a flow-matching scheduler.",
        "Use FlowMatchEulerDiscreteScheduler, or UniPCMultistepScheduler and the like with "
        'use_flow_sigmas=True, prediction_type="flow_prediction".',
    )
