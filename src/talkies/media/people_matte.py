"""How much of every pixel is people: what moves, before a ground that stays.

The network is that of MediaPipe's selfie segmentation (Apache-2.0): MobileNetV3's blocks down to a sixteenth, and back
up by way of what was seen on the way down. The weights beside this file are the published ones (see
`people_matte.NOTICE`), computed with NumPy. It sees pictures 256 pixels wide and high; edges are then drawn where the
picture's are, by a guided filter (He, Sun, Tang: "Guided Image Filtering", ECCV 2010; its coefficients found in small,
as in arXiv 1505.00996).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from talkies.media.convolutions import (
    Map,
    Weights,
    dense,
    depthwise,
    doubled,
    hard_swish,
    pointwise,
    relu,
    sigmoid,
    transposed,
)

Array = NDArray[Any]

WEIGHTS = Path(__file__).with_name("people_matte.safetensors")
SIDE = 256
#: Of every stage: stride, whether channels are weighed by their means, and whether its function is a hard swish.
_STAGES = (
    (2, True, False),
    (2, False, False),
    (1, False, False),
    (2, True, True),
    *((1, True, True),) * 4,
)
#: Stages before which the way back up looks: halves, quarters, eighths of the picture.
_SEEN_BEFORE = (0, 1, 3)
#: Every head is looked at once more by itself: half the side of that square, and up to where its answer counts wholly
#: and at all, in distances from between the eyes to the mouth.
_AROUND, _WHOLLY, _AT_ALL = 4.5, 3.0, 4.2
#: Longest side at which edges are searched, and how far around, in pixels of that; how little contrast is an edge.
_EDGE_SIDE, _EDGE_RADIUS, _EDGE_CONTRAST = 640, 3, 0.02


def people_matte(picture: Image.Image, faces: Array) -> Array:
    """How much of every pixel is people.

    Args:
        picture: RGB.
        faces: Landmarks, `[n, 5, 2]` in pixels (x, y): two eyes, nose, two corners of the mouth (`find_landmarks`).

    Returns:
        `[height, width]` float32 in [0, 1].
    """
    matte = _matte(picture)
    pixels, height, width = np.asarray(picture), picture.height, picture.width
    for points in faces:
        centre = points.mean(0)
        length = float(np.linalg.norm(points[3:].mean(0) - points[:2].mean(0)))
        left, top = np.round(centre - _AROUND * length).astype(int)
        side = max(1, round(2 * _AROUND * length))
        rows, columns = (np.arange(start, start + side) for start in (top, left))
        square = pixels[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
        inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        part = slice(max(0, top), top + side), slice(max(0, left), left + side)
        far = np.hypot(rows[:, None] + 0.5 - centre[1], columns + 0.5 - centre[0]) / max(length, 1e-6)
        counts = np.clip((_AT_ALL - far) / (_AT_ALL - _WHOLLY), 0, 1)[inside]
        matte[part] += counts * (_matte(Image.fromarray(square))[inside] - matte[part])
    return matte


def _matte(picture: Image.Image) -> Array:
    """Of a picture as a whole."""
    small = _pixels(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    found = segment(small.transpose(2, 0, 1))
    scale = min(1.0, _EDGE_SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    guide = _pixels(picture.resize(size, Image.Resampling.BOX))
    coarse = np.asarray(Image.fromarray(found).resize(size, Image.Resampling.BILINEAR))
    slopes, offsets = guided_filter(guide, coarse, _EDGE_RADIUS, _EDGE_CONTRAST**2)
    layers = [
        np.asarray(Image.fromarray(layer).resize(picture.size, Image.Resampling.BILINEAR))
        for layer in (*slopes.transpose(2, 0, 1), offsets)
    ]
    return np.clip((_pixels(picture) * np.stack(layers[:3], -1)).sum(-1) + layers[3], 0, 1)


def _pixels(picture: Image.Image) -> Map:
    """`[height, width, 3]` in [0, 1]."""
    return np.asarray(picture, np.float32) / np.float32(255)


def segment(pixels: Map) -> Map:
    """The network's own answer.

    Args:
        pixels: `[3, 256, 256]`, RGB in [0, 1].

    Returns:
        `[256, 256]` in (0, 1).
    """
    weights = load_weights()
    x = hard_swish(dense(pixels, weights, "stem", 2, before=0))
    seen = []
    for index, (stride, weighed, swish) in enumerate(_STAGES):
        if index in _SEEN_BEFORE:
            seen.append(x)
        x = _stage(x, weights, f"stages.{index}", stride, weighed, swish)
    x = relu(pointwise(x, weights, "head")) * sigmoid(pointwise(_mean(x), weights, "head_gate"))
    for index, before in enumerate(reversed(seen)):
        x = _join(x, before, weights, f"up.{index}")
    return sigmoid(transposed(x, weights, "out"))[0]


@lru_cache(maxsize=1)
def load_weights() -> Weights:
    """The published weights in float32, by the names of the network's parts."""
    return {name: tensor.astype(np.float32) for name, tensor in load_file(WEIGHTS).items()}


def guided_filter(guide: Map, matte: Map, radius: int, contrast: float) -> tuple[Map, Map]:
    """Around every pixel the linear function of the guide's colours that is nearest to the matte.

    Args:
        guide: `[H, W, 3]`.
        matte: `[H, W]`.
        radius: Of the boxes in which functions are fitted, in pixels.
        contrast: Variances of the guide below this are taken for noise.

    Returns:
        Slopes `[H, W, 3]` and offsets `[H, W]`: the filtered matte is `(guide * slopes).sum(-1) + offsets`.
    """
    colours = guide.astype(np.float64)
    both = np.concatenate([colours, matte[..., None], colours * matte[..., None]], -1)
    means = _box_mean(both, radius)
    mean, mean_matte, mean_product = means[..., :3], means[..., 3], means[..., 4:]
    pairs = _box_mean((colours[..., :, None] * colours[..., None, :]).reshape(*matte.shape, 9), radius)
    spread = pairs.reshape(*matte.shape, 3, 3) - mean[..., :, None] * mean[..., None, :] + contrast * np.eye(3)
    shared = mean_product - mean * mean_matte[..., None]
    slope = np.linalg.solve(spread, shared[..., None])[..., 0]
    offset = mean_matte - (slope * mean).sum(-1)
    smooth = _box_mean(np.concatenate([slope, offset[..., None]], -1), radius).astype(np.float32)
    return smooth[..., :3], np.ascontiguousarray(smooth[..., 3])


def _box_mean(x: Array, radius: int) -> Array:
    """Means of `[H, W, C]` over boxes, at the picture's edge over what there is of them."""
    for axis in (0, 1):
        length = x.shape[axis]
        sums = np.concatenate([np.zeros_like(x.take([0], axis)), x.cumsum(axis)], axis)
        low, high = (np.clip(np.arange(length) + k, 0, length) for k in (-radius, radius + 1))
        counts = (high - low).reshape(-1, *[1] * (x.ndim - 1 - axis))
        x = (sums.take(high, axis) - sums.take(low, axis)) / counts
    return x


def _stage(x: Map, weights: Weights, name: str, stride: int, weighed: bool, swish: bool) -> Map:
    """MobileNetV3's block: widen, filter each channel, weigh channels, narrow; added to its input where it may be."""
    bend = hard_swish if swish else relu
    hidden = bend(pointwise(x, weights, f"{name}.expand"))
    side = weights[f"{name}.depthwise.weight"].shape[-1]
    before = (side - stride) // 2  # TensorFlow's: the odd row of zeros lies behind
    hidden = bend(depthwise(hidden, weights, f"{name}.depthwise", stride, before))
    if weighed:
        gate = relu(pointwise(_mean(hidden), weights, f"{name}.squeeze"))
        hidden = hidden * sigmoid(pointwise(gate, weights, f"{name}.excite"))
    out = pointwise(hidden, weights, f"{name}.project")
    return x + out if out.shape == x.shape and stride == 1 else out


def _join(x: Map, before: Map, weights: Weights, name: str) -> Map:
    """Twice as large, with what was seen at that size on the way down."""
    x = pointwise(doubled(x), weights, f"{name}.project")
    gate = relu(pointwise(_mean(before + x), weights, f"{name}.squeeze"))
    x = x + before * sigmoid(pointwise(gate, weights, f"{name}.excite"))
    x = relu(pointwise(x, weights, f"{name}.mix"))
    return x + relu(depthwise(x, weights, f"{name}.depthwise"))


def _mean(x: Map) -> Map:
    """Of every channel, `[C, 1, 1]`."""
    mean: Map = x.mean((1, 2), keepdims=True)
    return mean
