"""Face mesh: 468 points of a face, lips and all, from a square crop. Small, weights included.

The network is the landmark model of MediaPipe Face Mesh (Kartynnik et al., "Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs", arXiv 1907.06724; Apache-2.0): depthwise blocks with PReLU. The weights beside this
file are the published ones, in half precision as they were published (see `face_mesh.NOTICE`). It was trained on real
faces and knows nothing of this project, so it is an independent judge of both real and rendered ones, their
mouths at least: eyes are shut by it (`lids`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).with_name("face_mesh.safetensors")
#: Side of the crop in pixels.
INPUT_SIZE = 192
POINTS = 468

#: Numbers of points (the published numbering): inner lips at the middle line, corners of the inner and outer mouth.
UPPER_INNER_LIP, LOWER_INNER_LIP = 13, 14
INNER_CORNERS = (78, 308)
OUTER_CORNERS = (61, 291)
#: Pairs above each other along the inner lips, from the middle outwards.
INNER_PAIRS = ((13, 14), (312, 317), (82, 87))
#: Outer corners of the two eyes; forehead and chin.
EYE_CORNERS = (33, 263)
FOREHEAD, CHIN = 10, 152

#: (out channels, stride) of the trunk's blocks after the stem of 16 channels.
_TRUNK = (
    (16, 1), (16, 1),
    (32, 2), (32, 1), (32, 1),
    (64, 2), (64, 1), (64, 1),
    (128, 2), (128, 1), (128, 1),
    (128, 2), (128, 1), (128, 1),
)  # fmt: skip


class Block(nn.Module):
    """Depthwise and pointwise convolution around a shortcut; the shortcut is pooled and padded with zero channels."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1 if stride == 1 else 0, groups=channels)
        self.pointwise = nn.Conv2d(channels, out_channels, 1)
        self.activation = nn.PReLU(out_channels)
        self.stride = stride
        self.extra = out_channels - channels

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B, C', H/stride, W/stride]`."""
        shortcut = x if self.stride == 1 else F.max_pool2d(x, 2)
        # The published network pads strided convolutions on the right and at the bottom only.
        hidden = self.depthwise(x if self.stride == 1 else F.pad(x, (0, 1, 0, 1)))
        return self.activation(self.pointwise(hidden) + F.pad(shortcut, (0, 0, 0, 0, 0, self.extra)))


class Head(nn.Module):
    """From the trunk to one vector of `outputs` numbers."""

    def __init__(self, blocks: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(128, 128, 2), *(Block(128, 128, 1) for _ in range(blocks)))
        self.narrow = nn.Conv2d(128, 32, 1)
        self.activation = nn.PReLU(32)
        self.last = Block(32, 32, 1)
        self.out = nn.Conv2d(32, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 128, 6, 6]` -> `[B, outputs]`."""
        return self.out(self.last(self.activation(self.narrow(self.blocks(x))))).flatten(1)


class FaceMesh(nn.Module):
    """The landmark network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2)
        self.activation = nn.PReLU(16)
        blocks, channels = [], 16
        for out_channels, stride in _TRUNK:
            blocks.append(Block(channels, out_channels, stride))
            channels = out_channels
        self.trunk = nn.Sequential(*blocks)
        self.points = Head(2, 3 * POINTS)
        self.presence = Head(0, 1)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Points of faces.

        Args:
            crops: `[B, 3, 192, 192]`, RGB in 0..1, the face upright and about two thirds of the side high.

        Returns:
            Points `[B, 468, 3]`: x right and y down in pixels of the crop, z towards the viewer in the same unit; and
            the logit of a face being there, `[B]`.
        """
        x = self.trunk(self.activation(self.stem(F.pad(crops, (0, 1, 0, 1)))))  # [B, 128, 6, 6]
        return self.points(x).unflatten(1, (POINTS, 3)), self.presence(x)[:, 0]


@lru_cache(maxsize=1)
def load_face_mesh() -> FaceMesh:
    """The network with its published weights, in float32 on the CPU, ready for inference."""
    network = FaceMesh().eval().requires_grad_(False)
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()})
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on CPUs
    return network
