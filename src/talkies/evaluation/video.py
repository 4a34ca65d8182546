"""Video in: frames at 25 per second, decoded in blocks within limits, so that length costs no memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.media.colours import as_rgb

Frames = NDArray[np.uint8]

#: Frames decoded at once.
BLOCK = 64
MAX_SIDE = 8192
MAX_FRAMES = 25 * 3600
#: Demuxers of files that name other files, devices or addresses.
_ALLOWED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm", "avi", "gif", "m4v", "mpegts"})


@dataclass(frozen=True)
class VideoFile:
    """A video on disk.

    Attributes:
        path: The file.
    """

    path: Path

    def blocks(self, size: int = BLOCK) -> Iterator[Frames]:
        """Its frames at 25 per second: each moment's frame is the one on screen then.

        Yields:
            `[n, H, W, 3]` uint8 RGB, n at most `size`.

        Raises:
            InputError: No video, broken, of changing size, or outside the limits.
        """
        held: list[Frames] = []
        for frame in self._resampled():
            held.append(frame)
            if len(held) == size:
                yield np.stack(held)
                held = []
        if held:
            yield np.stack(held)

    def read(self, limit: int = 1500) -> Frames:
        """All frames, `[F, H, W, 3]`.

        Raises:
            InputError: As `blocks`, or more than `limit` frames.
        """
        parts: list[Frames] = []
        for block in self.blocks():
            parts.append(block)
            if sum(map(len, parts)) > limit:
                raise InputError(f"{self.path.name} has more than {limit} frames.", "Cut it first.")
        if not parts:
            raise InputError(f"{self.path.name} has no frames.")
        return np.concatenate(parts)

    def _resampled(self) -> Iterator[Frames]:
        emitted = 0
        for end, pixels in self._shown():
            while Fraction(2 * emitted + 1, 2 * FPS) < end:  # what is seen in the middle of an output frame's time
                yield pixels
                emitted += 1
                if emitted > MAX_FRAMES:
                    raise InputError(f"{self.path.name} is longer than {MAX_FRAMES // FPS} s.", "Cut it first.")

    def _shown(self) -> Iterator[tuple[Fraction, Frames]]:
        """Pictures in order, each with the time in seconds at which the next one replaces it."""
        held: Frames | None = None
        moment, period = Fraction(0), Fraction(1, FPS)
        for moment, period, pixels in self._decoded():  # noqa: B007
            if held is not None:
                if pixels.shape != held.shape:
                    raise InputError(f"{self.path.name} changes its size at {float(moment):.2f} s.", "Cut it there.")
                yield moment, held
            held = pixels
        if held is not None:
            yield moment + period, held

    def _decoded(self) -> Iterator[tuple[Fraction, Fraction, Frames]]:
        """Every picture with the time it appears at, counted from the first one, and the usual time between two."""
        import av

        try:
            with self.path.open("rb") as file, av.open(file, "r", options={"protocol_whitelist": ""}) as container:
                if not _ALLOWED_FORMATS & set(container.format.name.split(",")):
                    raise InputError(f"{self.path.name} is no video that is read here ({container.format.name}).")
                stream = _video_stream(container, self.path)
                period = 1 / Fraction(stream.average_rate or FPS)
                first: Fraction | None = None
                for count, frame in enumerate(container.decode(stream)):
                    start = count * period if frame.pts is None else frame.pts * Fraction(stream.time_base)
                    first = start if first is None else first
                    yield start - first, period, as_rgb(frame)
        except FileNotFoundError:
            raise InputError(f"There is no video {self.path}.") from None
        except av.error.FFmpegError as error:
            raise InputError(f"{self.path.name} is broken: {error.strerror}.") from None
        except OSError as error:
            raise InputError(f"{self.path.name} cannot be read: {error.strerror or error}.") from None


def _video_stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise InputError(f"There is no picture in {path.name}.")
    stream = container.streams.video[0]
    if max(stream.width, stream.height) > MAX_SIDE:
        raise InputError(f"{path.name} is {stream.width}x{stream.height}; sides of at most {MAX_SIDE} are read.")
    return stream
