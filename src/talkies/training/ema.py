"""Exponential moving average of the trained parameters, kept in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor; the tensor itself when it is whole."""
    part = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


class Ema:
    """Averaged weights: average <- d average + (1 - d) weights, d = min(decay, (1 + n) / (10 + n)) at update n.

    Args:
        parameters: What is averaged, by name.
        decay: Final decay, in (0, 1).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self.updates = 0
        self.averages: dict[str, Tensor] = {
            name: value.detach().to(torch.float32, copy=True) for name, value in parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present weights."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        averages = [local(value) for value in self.averages.values()]
        weights = [local(value.detach()).to(torch.float32) for value in self._parameters.values()]
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def load(self, averages: Mapping[str, Tensor], updates: int) -> None:
        """Goes on from saved averages."""
        for name, value in averages.items():
            local(self.averages[name]).copy_(local(value))
        self.updates = updates

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the averages inside the `with` block."""
        kept = {name: local(value.detach()).clone() for name, value in self._parameters.items()}
        try:
            self._put(self.averages)
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            local(parameter.detach()).copy_(local(values[name]))
