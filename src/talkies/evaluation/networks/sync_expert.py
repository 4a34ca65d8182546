"""The sync expert: do these lips and this sound belong together? Fitted to the stage's people, weights included.

Two streams as in SyncNet (Chung and Zisserman, ACCV 2016 workshops), smaller: five aligned grey mouths and the 0.2 s
of sound they were spoken in become unit vectors that are close where they belong together. It is no SyncNet: its
numbers carry its own name and compare with nobody else's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkies.evaluation.networks.blocks import Conv, even_light, load_network

WEIGHTS = Path(__file__).with_name("sync_expert.safetensors")
#: Frames of a look, log-mel bands and steps of its sound.
FRAMES, BANDS, STEPS = 5, 40, 20
WIDTH = 128
_STEPS_PER_FRAME = STEPS // FRAMES


class SyncExpert(nn.Module):
    """Lips and sound as unit vectors."""

    #: Mean and whitening of `frames`' features over the people it was fitted to, for `strangeness`.
    centre: Tensor
    whiten: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.PixelUnshuffle(4), Conv(16, 32), Conv(32, 64, 3, 2), Conv(64, 64), Conv(64, 96, 3, 2),
            nn.Flatten(), nn.Linear(96 * 9, WIDTH),
        )  # fmt: skip
        self.lips_over_time = nn.Sequential(nn.ReLU(), nn.Conv1d(WIDTH, 192, 3), nn.ReLU(), nn.Conv1d(192, WIDTH, 3))
        self.listen = nn.Sequential(
            Conv(1, 32, 5, (4, 2)), Conv(32, 64, 3, 2), Conv(64, 64),
            nn.Flatten(), nn.Linear(64 * 25, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH),
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.register_buffer("whiten", torch.eye(WIDTH))

    def frames(self, mouths: Tensor) -> Tensor:
        """Grey mouths `[B, 48, 48]` -> features of single frames `[B, 128]`."""
        features: Tensor = self.look(even_light(mouths))
        return features

    def lips(self, features: Tensor) -> Tensor:
        """Features of single frames `[B, T, 128]` -> unit vectors of looks `[B, T - 4, 128]`."""
        return F.normalize(self.lips_over_time(features.transpose(1, 2)).transpose(1, 2), dim=-1)

    def sound(self, mel: Tensor) -> Tensor:
        """Log-mel energies `[B, 4 T, 40]` (`speech.log_mel_steps`) -> unit vectors `[B, T - 4, 128]`."""
        windows = mel.unfold(1, STEPS, _STEPS_PER_FRAME)  # [B, T - 4, 40, 20]
        # Energies lie in -11.5..3; about -1..1 afterwards.
        found: Tensor = self.listen(windows.flatten(0, 1)[:, None] / 5 + 1)
        return F.normalize(found, dim=-1).unflatten(0, windows.shape[:2])

    def strangeness(self, features: Tensor) -> Tensor:
        """How unlike the people it was fitted to a clip looks, `[T, 128] -> []`: about 1 for those, more for others."""
        return ((features.mean(0) - self.centre) @ self.whiten).square().mean().sqrt()


@lru_cache(maxsize=1)
def load_sync_expert() -> SyncExpert:
    """The network with its weights, in float32 on the CPU, ready for inference."""
    network = load_network(SyncExpert(), WEIGHTS)
    assert isinstance(network, SyncExpert)  # noqa: S101
    return network
