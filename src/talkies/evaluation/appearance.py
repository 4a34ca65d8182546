"""What a picture looks like in six numbers: the raw material of drift curves."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

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


def thumbnail(picture: NDArray[np.uint8], height: int = 96) -> NDArray[np.uint8]:
    """`[H, W, 3]` at another height, in shape."""
    return resized(np.ascontiguousarray(picture), (height, max(1, round(picture.shape[1] * height / picture.shape[0]))))


def strip(pictures: Sequence[NDArray[np.uint8]], count: int = 6) -> str:
    """Some of the pictures (`[H, W, 3]`, all alike) side by side, as a JPEG in a `data:` address."""
    from PIL import Image

    chosen = [pictures[round(k)] for k in np.linspace(0, len(pictures) - 1, min(count, len(pictures)))]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(chosen, axis=1)).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
