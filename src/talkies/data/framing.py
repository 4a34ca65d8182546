"""The window of a picture that a clip shows: everybody's head and shoulders, at the clip's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.data.tracking import FaceTrack
from talkies.data.verdict import LeftOutError
from talkies.domain.clip import FrameSize

#: Room around a face that a clip shows where the picture has it, in face widths and heights: sides, above, below.
_ROOM = (0.9, 0.7, 1.3)
#: Names of framings by the height of the tallest face, as a share of the clip's; what is smaller is waist-up.
_FRAMINGS = ((0.45, "close-up"), (0.2, "head and shoulders"))


@dataclass(frozen=True)
class Window:
    """A part of the picture in pixels, and the size it is brought to.

    Attributes:
        left, top, width, height: Of the part; it has the shape of `size`. size: Of the clip.
    """

    left: float
    top: float
    width: float
    height: float
    size: FrameSize

    @property
    def scale(self) -> float:
        """Pixels of the picture for one of the clip."""
        return self.height / self.size.height

    def cut(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`[F, H, W, 3]` to `[F, size.height, size.width, 3]`."""
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        size = (self.size.width, self.size.height)
        cut = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS, box=box) for frame in frames]
        return np.stack([np.asarray(picture) for picture in cut])

    def move(self, track: FaceTrack) -> FaceTrack:
        """A face in pixels of the clip."""
        boxes = (track.boxes - np.array([self.left, self.top] * 2)) / self.scale
        return replace(track, boxes=boxes.astype(np.float32), turns=(track.turns / self.scale).astype(np.float32))


def find_window(tracks: Sequence[FaceTrack], picture: FrameSize, size: FrameSize) -> Window:
    """The smallest window that shows everybody's head and shoulders all the time, or as much as there is of them.

    Args:
        tracks: In pixels of the picture. picture, size: Of the picture and the clip.

    Raises:
        LeftOutError: The faces do not fit into any window of that shape.
    """
    boxes = np.concatenate([track.boxes for track in tracks])
    faces = _around(boxes, picture)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    sides, above, below = _ROOM
    margins = np.stack([-sides * width, -above * height, sides * width, below * height], axis=1)
    wanted = _around(boxes + margins, picture)
    shape = size.width / size.height
    tall = max(wanted[3] - wanted[1], (wanted[2] - wanted[0]) / shape)
    tall = min(tall, picture.height, picture.width / shape)
    wide = tall * shape
    if wide < faces[2] - faces[0] or tall < faces[3] - faces[1]:
        raise LeftOutError("people do not fit", f"faces span {faces[2] - faces[0]:.0f}x{faces[3] - faces[1]:.0f} of "
                           f"{picture} pixels")  # fmt: skip
    left = _place((wanted[0] + wanted[2] - wide) / 2, wide, faces[0], faces[2], picture.width)
    top = _place((wanted[1] + wanted[3] - tall) / 2, tall, faces[1], faces[3], picture.height)
    return Window(left, top, wide, tall, size)


def _around(boxes: NDArray[np.floating], picture: FrameSize) -> tuple[float, float, float, float]:
    """Around all boxes, within the picture."""
    left, top = np.maximum(boxes[:, :2].min(0), 0)
    right, bottom = np.minimum(boxes[:, 2:].max(0), (picture.width, picture.height))
    return float(left), float(top), float(right), float(bottom)


def _place(wish: float, length: float, first: float, last: float, limit: float) -> float:
    """Where a window of `length` begins: near `wish`, holding `first` to `last`, within `0..limit`."""
    low, high = max(0.0, last - length), min(first, limit - length)
    return float(min(max(wish, low), high))


def framing_name(tracks: Sequence[FaceTrack], size: FrameSize) -> str:
    """`close-up`, `head and shoulders` or `waist-up`, by the tallest face; tracks in pixels of the clip."""
    tallest = max(float(np.median(track.boxes[:, 3] - track.boxes[:, 1])) for track in tracks) / size.height
    return next((name for share, name in _FRAMINGS if tallest >= share), "waist-up")
