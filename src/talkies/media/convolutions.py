"""What small convolutional networks are made of, computed with NumPy: people are found where torch is not wanted, too.

Maps are `[channels, height, width]`, float32. Weights are told by the name of a layer: `name.weight`
`[C', C, k, k]` (one of every channel by itself: `[C, 1, k, k]`; transposed: `[C, C', k, k]`) and `name.bias`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Weights = dict[str, NDArray[np.float32]]


def relu(x: Map) -> Map:
    """In place."""
    return np.maximum(x, 0, out=x)


def hard_swish(x: Map) -> Map:
    """x times a sigmoid of three straight lines (MobileNetV3)."""
    gate: Map = np.clip(x / 6 + 0.5, 0, 1)
    return x * gate


def sigmoid(x: Map) -> Map:
    """In (0, 1)."""
    return (np.tanh(x / 2) + np.float32(1)) * np.float32(0.5)  # exp would overflow


def pointwise(x: Map, weights: Weights, name: str) -> Map:
    """1x1 convolution: `[C, H, W]` -> `[C', H, W]`."""
    matrix = weights[f"{name}.weight"][:, :, 0, 0]  # [C', C]
    out = matrix @ x.reshape(len(x), -1) + weights[f"{name}.bias"][:, None]
    return out.reshape(-1, *x.shape[1:])


def depthwise(x: Map, weights: Weights, name: str, stride: int = 1, before: int | None = None) -> Map:
    """Convolution of every channel by itself; channel by channel, so that it stays in the processor's cache.

    Args:
        x: `[C, H, W]`.
        weights, name: See the module.
        stride: Of rows and columns, which are multiples of it.
        before: Rows and columns of zeros above and to the left; half the kernel by default.
    """
    kernels, bias = weights[f"{name}.weight"][:, 0], weights[f"{name}.bias"]  # [C, k, k], [C]
    side = kernels.shape[1]
    before = side // 2 if before is None else before
    out = np.empty((len(x), x.shape[1] // stride, x.shape[2] // stride), np.float32)
    product = np.empty(out.shape[1:], np.float32)
    for channel, kernel in enumerate(kernels):
        padded = np.pad(x[channel], (before, side - 1 - before))
        out[channel] = bias[channel]
        for tap, weight in zip(_taps(padded, out.shape[1:], stride, side), kernel.flat, strict=True):
            out[channel] += np.multiply(tap, weight, out=product)
    return out


def dense(x: Map, weights: Weights, name: str, stride: int = 1, before: int = 1) -> Map:
    """3x3 convolution: `[C, H, W]` -> `[C', H/stride, W/stride]`; with so many zeros above and to the left."""
    kernels = weights[f"{name}.weight"]  # [C', C, 3, 3]
    shape = x.shape[1] // stride, x.shape[2] // stride
    around = (before, 2 - before)
    padded = np.pad(x, ((0, 0), around, around))
    taps = np.stack(_taps(padded, shape, stride, 3), axis=1)  # [C, 9, H/stride, W/stride]
    out = kernels.reshape(len(kernels), -1) @ taps.reshape(-1, shape[0] * shape[1])
    return (out + weights[f"{name}.bias"][:, None]).reshape(-1, *shape)


def transposed(x: Map, weights: Weights, name: str) -> Map:
    """Transposed 2x2 convolution with stride 2: `[C, H, W]` -> `[C', 2H, 2W]`."""
    kernels = weights[f"{name}.weight"]  # [C, C', 2, 2]
    channels, (height, width) = kernels.shape[1], x.shape[1:]
    out = kernels.reshape(len(kernels), -1).T @ x.reshape(len(x), -1)  # [C' * 4, H * W]
    tiles = out.reshape(channels, 2, 2, height, width).transpose(0, 3, 1, 4, 2)  # [C', H, 2, W, 2]
    return tiles.reshape(channels, 2 * height, 2 * width) + weights[f"{name}.bias"][:, None, None]


def doubled(x: Map) -> Map:
    """Bilinearly, pixels' middles kept: `[C, H, W]` -> `[C, 2H, 2W]`."""
    for axis in (1, 2):
        around = [(0, 0), (0, 0), (0, 0)]
        around[axis] = (1, 1)
        wide = np.moveaxis(np.pad(x, around, mode="edge"), axis, 1)
        middle = 0.75 * wide[:, 1:-1]
        both = np.stack([middle + 0.25 * wide[:, :-2], middle + 0.25 * wide[:, 2:]], 2)  # [C, n, 2, other]
        x = np.moveaxis(both.reshape(len(x), -1, wide.shape[2]), 1, axis)
    return np.ascontiguousarray(x)


def _taps(padded: Map, shape: tuple[int, ...], stride: int, side: int) -> list[Map]:
    """What each of a kernel's weights is multiplied with: views `[..., *shape]`, row by row."""
    rows, columns = (1 + stride * (length - 1) for length in shape)
    return [
        padded[..., row : row + rows : stride, column : column + columns : stride]
        for row in range(side)
        for column in range(side)
    ]
