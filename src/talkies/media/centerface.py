"""CenterFace: where the faces are in a picture. A small MobileNetV2 with a feature pyramid, weights included.

The network is that of CenterFace ("CenterFace: Joint Face Detection and Alignment Using Face as Point",
arXiv 1911.03599; MIT licence). Batch norms are folded into the convolutions before them; the weights beside this file
are the published ones in half precision (see `centerface.NOTICE`).

It is computed with NumPy, so that people can be found where torch is not wanted: in the service.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

WEIGHTS = Path(__file__).with_name("centerface.safetensors")

#: The input's sides must be multiples of this: five halvings on the way down, three doublings on the way up.
STRIDE_MULTIPLE = 32

#: (expansion, out channels, stride of the first, how many) of every stage after the stem.
_STAGES = ((6, 24, 2, 2), (6, 32, 2, 3), (6, 64, 2, 4), (6, 96, 1, 3), (6, 160, 2, 3), (6, 320, 1, 1))
#: Stages whose output joins the pyramid, fine to coarse: strides 4, 8, 16, 32.
_TAPS = (0, 1, 3, 5)

Map = NDArray[np.float32]
Weights = dict[str, NDArray[np.float32]]


def detect(pixels: NDArray[np.floating]) -> tuple[Map, Map, Map, Map]:
    """Maps of face centres.

    Args:
        pixels: `[H, W, 3]`, RGB in 0..255, `H` and `W` multiples of 32.

    Returns:
        Heat map `[1, H/4, W/4]` in 0..1; log size over 4 (height, width) `[2, ...]`; centre offset (row, column) in
        map cells `[2, ...]`; five landmarks (row, column) in face sizes `[10, ...]`.
    """
    weights = load_weights()
    x: Map = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)  # [3, H, W]
    x = _inverted_residual(_relu(_dense(x, weights, "stem", stride=2)), weights, "first", 1)  # [16, H/2, W/2]
    levels = []
    for index, (_, _, stride, count) in enumerate(_STAGES):
        for block in range(count):
            x = _inverted_residual(x, weights, f"stages.{index}.{block}", stride if block == 0 else 1)
        if index in _TAPS:
            levels.append(x)
    merged = _relu(_pointwise(levels[3], weights, "lateral.3"))  # [24, H/32, W/32]
    for level in (2, 1, 0):
        doubled = _relu(_doubled(merged, weights, f"upsample.{level}"))
        merged = doubled + _relu(_pointwise(levels[level], weights, f"lateral.{level}"))
    merged = _relu(_dense(merged, weights, "smooth"))  # [24, H/4, W/4]
    heat, size, offset, landmarks = (
        _pointwise(merged, weights, head) for head in ("heatmap", "scale", "offset", "landmarks")
    )
    chance: Map = np.reciprocal(1 + np.exp(-heat))
    return chance, size, offset, landmarks


@lru_cache(maxsize=1)
def load_weights() -> Weights:
    """The published weights in float32, by the names of the network's parts."""
    return {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS).items()}


def _relu(x: Map) -> Map:
    return np.maximum(x, 0, out=x)


def _inverted_residual(x: Map, weights: Weights, name: str, stride: int) -> Map:
    """MobileNetV2's block: widen, filter each channel, narrow; added to its input where the shapes allow."""
    hidden = _relu(_pointwise(x, weights, f"{name}.expand")) if f"{name}.expand.weight" in weights else x
    out = _pointwise(_relu(_depthwise(hidden, weights, f"{name}.depthwise", stride)), weights, f"{name}.project")
    return x + out if out.shape == x.shape else out


def _pointwise(x: Map, weights: Weights, name: str) -> Map:
    """1x1 convolution: `[C, H, W]` -> `[C', H, W]`."""
    matrix = weights[f"{name}.weight"][:, :, 0, 0]  # [C', C]
    out = matrix @ x.reshape(len(x), -1) + weights[f"{name}.bias"][:, None]
    return out.reshape(-1, *x.shape[1:])


def _depthwise(x: Map, weights: Weights, name: str, stride: int) -> Map:
    """3x3 convolution of every channel by itself; channel by channel, so that it stays in the processor's cache."""
    kernels, bias = weights[f"{name}.weight"][:, 0], weights[f"{name}.bias"]  # [C, 3, 3], [C]
    out = np.empty((len(x), x.shape[1] // stride, x.shape[2] // stride), np.float32)
    product = np.empty(out.shape[1:], np.float32)
    for channel, kernel in enumerate(kernels):
        padded = np.pad(x[channel], 1)
        out[channel] = bias[channel]
        for tap, weight in zip(_taps(padded, out.shape[1:], stride), kernel.flat, strict=True):
            out[channel] += np.multiply(tap, weight, out=product)
    return out


def _dense(x: Map, weights: Weights, name: str, stride: int = 1) -> Map:
    """3x3 convolution: `[C, H, W]` -> `[C', H/stride, W/stride]`."""
    kernels = weights[f"{name}.weight"]  # [C', C, 3, 3]
    shape = x.shape[1] // stride, x.shape[2] // stride
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    taps = np.stack(list(_taps(padded, shape, stride)), axis=1)  # [C, 9, H/stride, W/stride]
    out = kernels.reshape(len(kernels), -1) @ taps.reshape(-1, shape[0] * shape[1])
    return (out + weights[f"{name}.bias"][:, None]).reshape(-1, *shape)


def _taps(padded: Map, shape: tuple[int, ...], stride: int) -> list[Map]:
    """What each of a 3x3 kernel's weights is multiplied with: nine views `[..., *shape]`, row by row."""
    rows, columns = (1 + stride * (length - 1) for length in shape)
    return [
        padded[..., row : row + rows : stride, column : column + columns : stride]
        for row in range(3)
        for column in range(3)
    ]


def _doubled(x: Map, weights: Weights, name: str) -> Map:
    """Transposed 2x2 convolution with stride 2: `[C, H, W]` -> `[C', 2H, 2W]`."""
    kernels = weights[f"{name}.weight"]  # [C, C', 2, 2]
    channels, (height, width) = kernels.shape[1], x.shape[1:]
    out = kernels.reshape(len(kernels), -1).T @ x.reshape(len(x), -1)  # [C' * 4, H * W]
    tiles = out.reshape(channels, 2, 2, height, width).transpose(0, 3, 1, 4, 2)  # [C', H, 2, W, 2]
    return tiles.reshape(channels, 2 * height, 2 * width) + weights[f"{name}.bias"][:, None, None]
