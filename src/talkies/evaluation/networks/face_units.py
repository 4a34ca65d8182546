"""Face units from a face: the 52 ARKit units of an aligned grey face, fitted to the stage's truth, weights included.

Units that the stage never moves (gaze is a label of its own there; no puffed cheeks, no tongue) come out as 0.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.networks.blocks import Conv, even_light, load_network

WEIGHTS = Path(__file__).with_name("face_units.safetensors")


class FaceUnits(nn.Module):
    """The regressor."""

    #: Mean and spread of the units over the fitted tracks; 0 spread where a unit never moves.
    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4), Conv(16, 48), Conv(48, 96, 3, 2), Conv(96, 96), Conv(96, 128, 3, 2),
            Conv(128, 128), Conv(128, 64, 1), nn.Flatten(), nn.Linear(64 * 25, 160), nn.ReLU(),
            nn.Linear(160, len(FACE_UNITS)),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(len(FACE_UNITS)))
        self.register_buffer("spread", torch.ones(len(FACE_UNITS)))

    def standardised(self, faces: Tensor) -> Tensor:
        """Grey faces `[B, 80, 80]` -> units `[B, 52]` in spreads from their mean."""
        found: Tensor = self.layers(even_light(faces))
        return found

    def forward(self, faces: Tensor) -> Tensor:
        """Grey faces `[B, 80, 80]` -> units `[B, 52]` in 0..1, columns `FACE_UNITS`."""
        return (self.standardised(faces) * self.spread + self.mean).clamp(0, 1)


@lru_cache(maxsize=1)
def load_face_units() -> FaceUnits:
    """The network with its weights, in float32 on the CPU, ready for inference."""
    network = load_network(FaceUnits(), WEIGHTS)
    assert isinstance(network, FaceUnits)  # noqa: S101
    return network
