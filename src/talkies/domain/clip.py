"""Sizes and lengths of a clip: frames in fours plus one, aspect-ratio buckets, cover-and-crop."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from talkies.domain.errors import InputError

#: Frames per second the model was trained at (paper, section 3).
FPS = 25
#: Video frames one latent frame stands for, after the first (Wan2.1's video VAE).
TEMPORAL_STRIDE = 4

MIN_SIDE = 64
MAX_SIDE = 4096


def frames_for(seconds: float, fps: float = FPS) -> int:
    """Length of the video in frames for `seconds` of sound: the nearest whole number, at least one."""
    return max(1, math.floor(seconds * fps + 0.5))


def is_clip_length(frames: int) -> bool:
    """Whether `frames` is 4n+1, a length the video VAE maps onto whole latent frames."""
    return frames >= 1 and (frames - 1) % TEMPORAL_STRIDE == 0


def round_up_to_clip(frames: int) -> int:
    """The smallest 4n+1 that holds `frames` frames."""
    return TEMPORAL_STRIDE * math.ceil((max(frames, 1) - 1) / TEMPORAL_STRIDE) + 1


@dataclass(frozen=True)
class FrameSize:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> FrameSize:
        """Reads `832x480`.

        Raises:
            InputError: It is not a width and a height, or a side is out of range.
        """
        match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×*]\s*(\d{1,5})\s*", text)
        if match is None:
            raise InputError(f"Size {text!r} is not WIDTHxHEIGHT.", "Write it like 832x480.")
        size = cls(int(match[1]), int(match[2]))
        if not (MIN_SIDE <= size.width <= MAX_SIDE and MIN_SIDE <= size.height <= MAX_SIDE):
            raise InputError(f"Size {size} is out of range.", f"Both sides must lie in {MIN_SIDE}..{MAX_SIDE}.")
        return size

    def require_multiple(self, multiple: int) -> FrameSize:
        """Itself, if both sides are multiples of `multiple`.

        Raises:
            InputError: They are not; the hint names the nearest size that is.
        """
        if self.width % multiple or self.height % multiple:
            nearest = FrameSize(
                *(max(multiple, round(side / multiple) * multiple) for side in (self.width, self.height))
            )
            raise InputError(f"Size {self} does not fit this model: both sides must be multiples of {multiple}.",
                             f"The nearest is {nearest}.")  # fmt: skip
        return self


def _sizes(*height_width: tuple[int, int]) -> tuple[FrameSize, ...]:
    return tuple(FrameSize(width, height) for height, width in height_width)


#: The authors' two tables for the 14B model, around 627^2 and 960^2 pixels, narrowest ratio (height / width) first.
BUCKETS: dict[str, tuple[FrameSize, ...]] = {
    "multitalk-480": _sizes(
        (320, 1216), (384, 1024), (448, 896), (512, 768), (576, 704), (640, 640), (704, 576), (768, 512),
        (832, 448), (896, 448), (960, 384), (1088, 384), (1152, 320), (1216, 320), (1280, 320),
    ),
    "multitalk-720": _sizes(
        (448, 2048), (512, 1792), (576, 1600), (640, 1408), (704, 1280), (768, 1216), (832, 1088), (896, 1024),
        (960, 960), (1024, 896), (1088, 832), (1152, 768), (1216, 768), (1280, 704), (1344, 704), (1408, 640),
        (1472, 640), (1536, 576), (1664, 576), (1856, 512), (1920, 512),
    ),
}  # fmt: skip


def nearest_bucket(width: int, height: int, bucket: str = "multitalk-480") -> FrameSize:
    """The size of the authors' table whose aspect ratio is nearest the picture's.

    Ratios are compared as the authors' table states them, height over width with two decimals.
    """
    ratio = height / width
    return min(BUCKETS[bucket], key=lambda size: abs(round(size.height / size.width, 2) - ratio))


def fit_area(width: int, height: int, area: int, multiple: int) -> FrameSize:
    """The size of about `area` pixels, sides multiples of `multiple`, that keeps the picture's aspect ratio best."""
    ratio = height / width
    best: tuple[float, FrameSize] | None = None
    for columns in range(1, max(2, area // (multiple * multiple)) + 1):
        for rows in {max(1, math.floor(columns * ratio)), max(1, math.ceil(columns * ratio))}:
            size = FrameSize(columns * multiple, rows * multiple)
            # Both errors in log scale: a third too large is as bad as a third off in shape.
            error = abs(math.log(size.width * size.height / area)) + 2 * abs(math.log(size.height / size.width / ratio))
            if best is None or error < best[0]:
                best = (error, size)
    assert best is not None  # noqa: S101 - the loop runs at least once
    return best[1]


@dataclass(frozen=True)
class CoverCrop:
    """How a picture fills a frame: resized until it covers it, then cropped in the middle (as the authors do).

    Attributes:
        source: Size of the picture.
        target: Size of the frame.
        resized: Size of the picture after resizing; both sides at least the target's.
        left, top: First column and row of the frame in the resized picture.
    """

    source: FrameSize
    target: FrameSize
    resized: FrameSize
    left: int
    top: int

    @classmethod
    def of(cls, source: FrameSize, target: FrameSize) -> CoverCrop:
        """The plan for one picture and one frame size."""
        scale = max(target.height / source.height, target.width / source.width)
        resized = FrameSize(math.ceil(scale * source.width), math.ceil(scale * source.height))
        # Round half to even, like the centre crop the authors call.
        left, top = round((resized.width - target.width) / 2), round((resized.height - target.height) / 2)
        return cls(source, target, resized, left, top)

    def to_frame(self, x: float, y: float) -> tuple[float, float]:
        """Coordinates of the picture's point (x, y) in the frame."""
        return (
            x * self.resized.width / self.source.width - self.left,
            y * self.resized.height / self.source.height - self.top,
        )
