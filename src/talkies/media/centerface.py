"""CenterFace: where the faces are in a picture. A small MobileNetV2 with a feature pyramid, weights included.

The network is that of CenterFace ("CenterFace: Joint Face Detection and Alignment Using Face as Point",
arXiv 1911.03599; MIT licence). Batch norms are folded into the convolutions before them; the weights beside this file
are the published ones in half precision (see `centerface.NOTICE`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).with_name("centerface.safetensors")

#: The input's sides must be multiples of this: five halvings on the way down, three doublings on the way up.
STRIDE_MULTIPLE = 32

#: (expansion, out channels, stride of the first, how many) of every stage after the stem.
_STAGES = ((6, 24, 2, 2), (6, 32, 2, 3), (6, 64, 2, 4), (6, 96, 1, 3), (6, 160, 2, 3), (6, 320, 1, 1))
#: Stages whose output joins the pyramid, fine to coarse: strides 4, 8, 16, 32.
_TAPS = (0, 1, 3, 5)
_NECK = 24


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow; added to its input where the shapes allow."""

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = nn.Conv2d(channels, hidden, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B, C', H/stride, W/stride]`."""
        hidden = x if self.expand is None else F.relu(self.expand(x))
        out = self.project(F.relu(self.depthwise(hidden)))
        return x + out if self.residual else out


class CenterFace(nn.Module):
    """The detector: a picture in, four maps at a quarter of its resolution out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.first = InvertedResidual(32, 16, 1, 1)
        stages: list[nn.Module] = []
        channels, taps = 16, []
        for expansion, out_channels, stride, count in _STAGES:
            blocks = [InvertedResidual(channels, out_channels, stride, expansion)]
            blocks += [InvertedResidual(out_channels, out_channels, 1, expansion) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            taps.append(out_channels)
            channels = out_channels
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(taps[i], _NECK, 1) for i in _TAPS)
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(_NECK, _NECK, 2, 2) for _ in range(3))
        self.smooth = nn.Conv2d(_NECK, _NECK, 3, 1, 1)
        self.heatmap = nn.Conv2d(_NECK, 1, 1)
        self.scale = nn.Conv2d(_NECK, 2, 1)
        self.offset = nn.Conv2d(_NECK, 2, 1)
        self.landmarks = nn.Conv2d(_NECK, 10, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps of face centres.

        Args:
            pixels: `[B, 3, H, W]`, RGB in 0..255, `H` and `W` multiples of 32.

        Returns:
            Heat map `[B, 1, H/4, W/4]` in 0..1; log size over 4 (height, width) `[B, 2, ...]`; centre offset
            (row, column) in map cells `[B, 2, ...]`; five landmarks (row, column) in face sizes `[B, 10, ...]`.
        """
        x = self.first(F.relu(self.stem(pixels)))  # [B, 16, H/2, W/2]
        levels = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPS:
                levels.append(x)
        merged = F.relu(self.lateral[3](levels[3]))  # [B, 24, H/32, W/32]
        for level in (2, 1, 0):
            merged = F.relu(self.upsample[level](merged)) + F.relu(self.lateral[level](levels[level]))
        merged = F.relu(self.smooth(merged))  # [B, 24, H/4, W/4]
        return torch.sigmoid(self.heatmap(merged)), self.scale(merged), self.offset(merged), self.landmarks(merged)


@lru_cache(maxsize=1)
def load_detector() -> CenterFace:
    """The detector with its published weights, in float32 on the CPU, ready for inference."""
    network = CenterFace().eval().requires_grad_(False)
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    return network
