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

from talkies.media.convolutions import Map, Weights, dense, depthwise, pointwise, relu, sigmoid, transposed

WEIGHTS = Path(__file__).with_name("centerface.safetensors")

#: The input's sides must be multiples of this: five halvings on the way down, three doublings on the way up.
STRIDE_MULTIPLE = 32

#: (expansion, out channels, stride of the first, how many) of every stage after the stem.
_STAGES = ((6, 24, 2, 2), (6, 32, 2, 3), (6, 64, 2, 4), (6, 96, 1, 3), (6, 160, 2, 3), (6, 320, 1, 1))
#: Stages whose output joins the pyramid, fine to coarse: strides 4, 8, 16, 32.
_TAPS = (0, 1, 3, 5)


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
    x = _inverted_residual(relu(dense(x, weights, "stem", stride=2)), weights, "first", 1)  # [16, H/2, W/2]
    levels = []
    for index, (_, _, stride, count) in enumerate(_STAGES):
        for block in range(count):
            x = _inverted_residual(x, weights, f"stages.{index}.{block}", stride if block == 0 else 1)
        if index in _TAPS:
            levels.append(x)
    merged = relu(pointwise(levels[3], weights, "lateral.3"))  # [24, H/32, W/32]
    for level in (2, 1, 0):
        doubled = relu(transposed(merged, weights, f"upsample.{level}"))
        merged = doubled + relu(pointwise(levels[level], weights, f"lateral.{level}"))
    merged = relu(dense(merged, weights, "smooth"))  # [24, H/4, W/4]
    heat, size, offset, landmarks = (
        pointwise(merged, weights, head) for head in ("heatmap", "scale", "offset", "landmarks")
    )
    return sigmoid(heat), size, offset, landmarks


@lru_cache(maxsize=1)
def load_weights() -> Weights:
    """The published weights in float32, by the names of the network's parts."""
    return {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS).items()}


def _inverted_residual(x: Map, weights: Weights, name: str, stride: int) -> Map:
    """MobileNetV2's block: widen, filter each channel, narrow; added to its input where the shapes allow."""
    hidden = relu(pointwise(x, weights, f"{name}.expand")) if f"{name}.expand.weight" in weights else x
    out = pointwise(relu(depthwise(hidden, weights, f"{name}.depthwise", stride)), weights, f"{name}.project")
    return x + out if out.shape == x.shape else out
