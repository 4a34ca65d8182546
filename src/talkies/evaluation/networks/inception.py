"""Inception v3 as FID uses it: the TensorFlow network of 2015-12-05 in the layout of `pytorch-fid`.

Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016; Heusel et al., NeurIPS 2017 for its use. It differs
from torchvision's network: average pools leave the padding out, and the last block pools by maximum. Module names are
those of the public weights, which are not included.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 2048
SIDE = 299

#: name, in, out, kernel, stride, padding
_Spec = tuple[str, int, int, tuple[int, int], int, tuple[int, int]]


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, spec: _Spec) -> None:
        super().__init__()
        _, inside, outside, kernel, stride, padding = spec
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _at(name: str, inside: int, outside: int, kernel: int = 1, stride: int = 1, padding: int = 0) -> _Spec:
    return name, inside, outside, (kernel, kernel), stride, (padding, padding)


def _row(name: str, inside: int, outside: int, size: int = 7) -> _Spec:
    return name, inside, outside, (1, size), 1, (0, size // 2)


def _column(name: str, inside: int, outside: int, size: int = 7) -> _Spec:
    return name, inside, outside, (size, 1), 1, (size // 2, 0)


class Block(nn.Module):
    """Branches side by side.

    Args:
        branches: Convolutions one after the other; the last two may stand in a tuple: both see the same input.
        pool: Of the last branch: `average`, `max` (stride 1, then its convolutions) or `halve` (no convolutions).
    """

    def __init__(self, branches: list[list[_Spec | tuple[_Spec, _Spec]]], pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.plan: list[list[tuple[str, ...]]] = []
        for branch in branches:
            steps = []
            for step in branch:
                specs = (step,) if isinstance(step[0], str) else step
                for spec in specs:
                    self.add_module(spec[0], BasicConv2d(spec))  # type: ignore[index, arg-type]
                steps.append(tuple(str(spec[0]) for spec in specs))  # type: ignore[index]
            self.plan.append(steps)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` -> the branches' outputs side by side."""
        outs = []
        for number, steps in enumerate(self.plan):
            y = self._pooled(x) if number == len(self.plan) - 1 else x
            for names in steps:
                parts = [self.get_submodule(name)(y) for name in names]
                y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            outs.append(y)
        return torch.cat(outs, dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, 2)
        if self.pool == "max":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _a(inside: int, pooled: int) -> Block:
    return Block([
        [_at("branch1x1", inside, 64)],
        [_at("branch5x5_1", inside, 48), _at("branch5x5_2", 48, 64, 5, 1, 2)],
        [_at("branch3x3dbl_1", inside, 64), _at("branch3x3dbl_2", 64, 96, 3, 1, 1),
         _at("branch3x3dbl_3", 96, 96, 3, 1, 1)],
        [_at("branch_pool", inside, pooled)],
    ], "average")  # fmt: skip


def _b() -> Block:
    return Block([
        [_at("branch3x3", 288, 384, 3, 2)],
        [_at("branch3x3dbl_1", 288, 64), _at("branch3x3dbl_2", 64, 96, 3, 1, 1), _at("branch3x3dbl_3", 96, 96, 3, 2)],
        [],
    ], "halve")  # fmt: skip


def _c(width: int) -> Block:
    return Block([
        [_at("branch1x1", 768, 192)],
        [_at("branch7x7_1", 768, width), _row("branch7x7_2", width, width), _column("branch7x7_3", width, 192)],
        [_at("branch7x7dbl_1", 768, width), _column("branch7x7dbl_2", width, width),
         _row("branch7x7dbl_3", width, width), _column("branch7x7dbl_4", width, width),
         _row("branch7x7dbl_5", width, 192)],
        [_at("branch_pool", 768, 192)],
    ], "average")  # fmt: skip


def _d() -> Block:
    return Block([
        [_at("branch3x3_1", 768, 192), _at("branch3x3_2", 192, 320, 3, 2)],
        [_at("branch7x7x3_1", 768, 192), _row("branch7x7x3_2", 192, 192), _column("branch7x7x3_3", 192, 192),
         _at("branch7x7x3_4", 192, 192, 3, 2)],
        [],
    ], "halve")  # fmt: skip


def _e(inside: int, pool: str) -> Block:
    return Block([
        [_at("branch1x1", inside, 320)],
        [_at("branch3x3_1", inside, 384), (_row("branch3x3_2a", 384, 384, 3), _column("branch3x3_2b", 384, 384, 3))],
        [_at("branch3x3dbl_1", inside, 448), _at("branch3x3dbl_2", 448, 384, 3, 1, 1),
         (_row("branch3x3dbl_3a", 384, 384, 3), _column("branch3x3dbl_3b", 384, 384, 3))],
        [_at("branch_pool", inside, 192)],
    ], pool)  # fmt: skip


class Inception(nn.Module):
    """The network up to the pooled features before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(_at("", 3, 32, 3, 2))
        self.Conv2d_2a_3x3 = BasicConv2d(_at("", 32, 32, 3))
        self.Conv2d_2b_3x3 = BasicConv2d(_at("", 32, 64, 3, 1, 1))
        self.Conv2d_3b_1x1 = BasicConv2d(_at("", 64, 80))
        self.Conv2d_4a_3x3 = BasicConv2d(_at("", 80, 192, 3))
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a = _b()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = _c(128), _c(160), _c(160), _c(192)
        self.Mixed_7a = _d()
        self.Mixed_7b, self.Mixed_7c = _e(1280, "average"), _e(2048, "max")
        self.fc = nn.Linear(FEATURES, 1008)  # only so that the public file is read whole

    def forward(self, pictures: Tensor) -> Tensor:
        """`[B, 3, H, W]` RGB in 0..1 -> `[B, 2048]`."""
        x = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))


def load_inception(path: Path) -> Inception:
    """The network with the user's weights.

    Raises:
        InputError: It does not hold these weights.
    """
    from talkies.evaluation.weights import load_into

    return load_into(Inception(), path, "Inception (FID)").eval().requires_grad_(False)
