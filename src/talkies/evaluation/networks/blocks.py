"""Pieces of the evaluation's own networks."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from talkies.media.staging import staged

#: Contrast below this (of 255 grey values) is noise, not to be blown up.
_CONTRAST_FLOOR = 6.0


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, stride: int | tuple[int, int] = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def even_light(crops: Tensor) -> Tensor:
    """Grey crops `[B, S, S]`, any dtype, 0..255, at mean 0 and spread 1 each: `[B, 1, S, S]` float32."""
    grey = crops.float().flatten(1)
    grey = (grey - grey.mean(1, keepdim=True)) / (grey.std(1, keepdim=True) + _CONTRAST_FLOOR)
    return grey.view(len(crops), 1, *crops.shape[1:])


def save_network(network: nn.Module, path: Path) -> None:
    """Writes a network's weights as safetensors, floating-point numbers as bfloat16."""
    state = {n: v.bfloat16().contiguous() for n, v in network.state_dict().items() if v.is_floating_point()}
    with staged(path) as scratch:
        save_file(state, scratch)


def load_network(network: nn.Module, path: Path) -> nn.Module:
    """Fills a network with what `save_network` wrote, ready for inference in float32."""
    state = {name: value.float() for name, value in load_file(path).items()}
    lacking, strange = network.load_state_dict(state, strict=False)
    assert not strange and all(name.endswith("num_batches_tracked") for name in lacking)  # noqa: S101
    return network.eval().requires_grad_(False).to(torch.float32)
