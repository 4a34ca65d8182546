"""What a picture looks like in six numbers: the raw material of drift curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def look(frame: NDArray[np.uint8], before: NDArray[np.uint8] | None) -> NDArray[np.float64]:
    """Mean L, a, b of CIE Lab; spread of L; variance of L's Laplacian; mean change to the frame before, grey levels.

    Args:
        frame: `[H, W, 3]`. before: The same, or None for the first one.
    """
    import cv2

    lab = np.asarray(cv2.cvtColor(np.ascontiguousarray(frame).astype(np.float32) / 255, cv2.COLOR_RGB2Lab))
    light = np.ascontiguousarray(lab[..., 0])  # 0..100
    change = 0.0 if before is None else float(cv2.absdiff(np.ascontiguousarray(frame), before).mean())
    sharpness = float(cv2.Laplacian(light, cv2.CV_32F).var())
    return np.array([*lab.reshape(-1, 3).mean(0), light.std(), sharpness, change], np.float64)


def resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`[H, W, 3]` at another size (height, width)."""
    import cv2

    if picture.shape[:2] == size:
        return picture
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
