"""Gestures of the head from its motion: a few dilated convolutions over time, fitted to the stage, weights included.

It knows what heads do (nod, shake, turn, lean). Gestures of arms are not seen by faces; nothing is said of them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from talkies.evaluation.head_motion import FEATURES
from talkies.evaluation.networks.blocks import load_network

WEIGHTS = Path(__file__).with_name("head_gestures.safetensors")
#: What it knows, as the stage numbers and names them (`talkies.stage.gestures.GESTURES`); column 0 is none of them.
NUMBERS: dict[str, int] = {"nod": 2, "shake": 3, "lean": 7, "turn": 8}
NAMES = tuple(NUMBERS)


class HeadGestures(nn.Module):
    """The classifier."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(2 * len(FEATURES), width, 5, padding=2)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation) for dilation in (1, 2, 4)
        )
        self.outlet = nn.Conv1d(width, 1 + len(NAMES), 1)

    def forward(self, motion: Tensor) -> Tensor:
        """`head_motion [B, F, 7]` -> logits `[B, F, 5]`."""
        x = motion.transpose(1, 2)
        speed = torch.diff(x, dim=2, prepend=x[..., :1])
        x = torch.relu(self.inlet(torch.cat([x, 3 * speed], 1)))
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return self.outlet(x).transpose(1, 2)


@lru_cache(maxsize=1)
def load_head_gestures() -> HeadGestures:
    """The network with its weights, in float32 on the CPU, ready for inference."""
    network = load_network(HeadGestures(), WEIGHTS)
    assert isinstance(network, HeadGestures)  # noqa: S101
    return network
