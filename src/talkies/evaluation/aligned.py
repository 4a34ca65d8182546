"""Aligned crops: mouths and faces upright and of one size, steady while lips and jaw move.

They hang on what hardly moves with expressions, the eyes and the nose of the face mesh, and are smoothed over time, so
that what moves inside a crop is the face itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import Blocks, crop

Array = NDArray[np.float32]

_LEFT_EYE, _RIGHT_EYE, _NOSE_BASE = (33, 133), (263, 362), 2
#: Smoothing of a crop's place, and of its size, which changes slowly: standard deviations in frames.
_PLACE_SIGMA, _SIZE_SIGMA = 2.0, 8.0


@dataclass(frozen=True)
class CropKind:
    """A square hung on the base of the nose.

    Attributes:
        size: Side in pixels of the crop. side: In eye distances. drop: Centre below the base of the nose, in eye
            distances.
    """

    size: int
    side: float
    drop: float

    def wider(self, margin: int) -> CropKind:
        """The same place and scale with `margin` pixels more on every side."""
        return CropKind(self.size + 2 * margin, self.side * (1 + 2 * margin / self.size), self.drop)


#: From the nostrils to below the chin of an open mouth.
MOUTH = CropKind(size=48, side=1.5, drop=0.4)
#: From above the brows to the chin.
FACE = CropKind(size=80, side=2.6, drop=-0.2)


def crop_frames(points: NDArray[np.floating], kind: CropKind) -> Array:
    """Where crops lie.

    Args:
        points: `[F, 468, 2]` of the face mesh, pixels.

    Returns:
        `[F, 4]` centre x and y, side in pixels, angle: what `faces.crop` takes.
    """
    from scipy.ndimage import gaussian_filter1d

    left, right = points[:, _LEFT_EYE].mean(1), points[:, _RIGHT_EYE].mean(1)
    axis = gaussian_filter1d(right - left, _PLACE_SIGMA, axis=0, mode="nearest")  # [F, 2]
    nose = gaussian_filter1d(points[:, _NOSE_BASE], _PLACE_SIGMA, axis=0, mode="nearest")
    angle = np.arctan2(axis[:, 1], axis[:, 0])
    size = gaussian_filter1d(np.linalg.norm(axis, axis=1), _SIZE_SIGMA, mode="nearest")
    down = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    centre = nose + kind.drop * size[:, None] * down
    return np.concatenate([centre, kind.side * size[:, None], angle[:, None]], axis=1).astype(np.float32)


def cut(block: NDArray[np.uint8], frames: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Grey crops `[n, size, size]` of pictures `[n, H, W, 3]` at `frames` `[n, 4]`."""
    import cv2

    crops = [crop(picture, frame, size) for picture, frame in zip(block, frames, strict=True)]
    return np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in crops]).astype(np.uint8)


def cut_video(video: Blocks, places: Sequence[Array], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    """Crops of several faces, block by block: one `[n, size, size]` for each of `places` `[F, 4]`."""
    start = 0
    for block in video.blocks():
        yield [cut(block, place[start : start + len(block)], size) for place in places]
        start += len(block)
