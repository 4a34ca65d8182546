"""SyncNet: two towers that bring five frames of a face and 0.2 s of speech close together if they belong together.

The network of Chung and Zisserman ("Out of time: automated lip sync in the wild", ACCV 2016 workshops) in the form
whose weights are public (`syncnet_v2.model`); module names are those of that file. The weights are not included.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

#: Frames and MFCC steps (100 per second) of one look.
FRAMES, STEPS, COEFFICIENTS, SIDE = 5, 20, 13, 224


def _conv2(inside: int, outside: int, size: tuple[int, int], padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, size, padding=padding), nn.BatchNorm2d(outside), nn.ReLU()]


def _conv3(inside: int, outside: int, size: tuple[int, int, int], stride: int = 1, padding: int = 0) -> list[nn.Module]:
    conv = nn.Conv3d(inside, outside, size, (1, stride, stride), (0, padding, padding))
    return [conv, nn.BatchNorm3d(outside), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNet(nn.Module):
    """Both towers."""

    def __init__(self) -> None:
        super().__init__()
        pool3 = nn.MaxPool3d((1, 3, 3), (1, 2, 2))
        self.netcnnaud = nn.Sequential(
            *_conv2(1, 64, (3, 3), 1), nn.MaxPool2d(1, 1),
            *_conv2(64, 192, (3, 3), 1), nn.MaxPool2d((3, 3), (1, 2)),
            *_conv2(192, 384, (3, 3), 1),
            *_conv2(384, 256, (3, 3), 1),
            *_conv2(256, 256, (3, 3), 1), nn.MaxPool2d((3, 3), (2, 2)),
            *_conv2(256, 512, (5, 4), 0),
        )  # fmt: skip
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = nn.Sequential(
            *_conv3(3, 96, (5, 7, 7), 2), pool3,
            *_conv3(96, 256, (1, 5, 5), 2, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv3(256, 256, (1, 3, 3), 1, 1),
            *_conv3(256, 256, (1, 3, 3), 1, 1),
            *_conv3(256, 256, (1, 3, 3), 1, 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv3(256, 512, (1, 6, 6)),
        )  # fmt: skip

    def speech(self, mfcc: Tensor) -> Tensor:
        """`[B, 1, 13, 20]` MFCCs of 16-bit sound -> `[B, 1024]`."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def lips(self, faces: Tensor) -> Tensor:
        """`[B, 3, 5, 224, 224]` faces, blue first, 0..255 -> `[B, 1024]`."""
        return self.netfclip(self.netcnnlip(faces).flatten(1))


def load_syncnet(path: Path) -> SyncNet:
    """The network with the user's weights: safetensors, or the public file, of which only tensors are read.

    Raises:
        InputError: It does not hold these weights.
    """
    from talkies.evaluation.weights import load_into

    return load_into(SyncNet(), path, "SyncNet").eval().requires_grad_(False)


@torch.inference_mode()
def distances(lips: Tensor, speech: Tensor, shift: int) -> Tensor:
    """Distances of lips from speech at every shift, as the published protocol measures them.

    Args:
        lips: `[T, D]` looks at frames 0, 1, ... speech: `[T, D]` at the same times. shift: Frames to either side;
            beyond the ends speech is all zeros.

    Returns:
        `[T, 2 shift + 1]`, column s: speech `s - shift` frames later than the lips.
    """
    padded = torch.nn.functional.pad(speech, (0, 0, shift, shift))
    windows = padded.unfold(0, 2 * shift + 1, 1).transpose(1, 2)  # [T, 2 shift + 1, D]
    return torch.nn.functional.pairwise_distance(lips[:, None], windows)
