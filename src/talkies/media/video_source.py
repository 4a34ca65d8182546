"""Video in: pictures at 25 per second and sound at 16 kHz from any part of a file, on one clock, within limits.

Output frame k of a part that begins at second s is what is on screen at s + (k + 1/2) / 25; sample j is what is heard
at s + j / 16000. Both count from the file's own beginning, so a track that starts late stays late. Parts are sought:
the tenth hour costs as much as the first minute.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS, FrameSize
from talkies.domain.conversation import MAX_SECONDS
from talkies.domain.errors import InputError
from talkies.media.audio import MAX_CHANNELS, SPEECH_RATE, open_container
from talkies.media.colours import as_rgb
from talkies.media.resampling import resample
from talkies.media.video import MAX_SIDE

if TYPE_CHECKING:
    import av

MIN_SIDE = 64
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg")
#: Sampling rates that are read, in Hz.
_RATES = (4_000, 192_000)
#: Sound is sought this much earlier than it is needed, in seconds: decoders and filters need a start.
_LEAD = 0.5
#: Time stamps of sound that jump by less are jitter of the container, in seconds.
_JITTER = 0.05
#: Broken packets up to this share are skipped, as players do.
_TOLERATED_BAD = 0.05
#: Pictures at least so high are BT.709 where the file does not say; swscale would take BT.601.
_HD_HEIGHT = 720


@dataclass(frozen=True)
class VideoSource:
    """What opening a video tells.

    Attributes:
        path: The file. seconds: Its length. fps: Its own frames per second, on average.
        size: Of its pictures, upright and with square pixels. sound: Whether it has any.
    """

    path: Path
    seconds: float
    fps: float
    size: FrameSize
    sound: bool

    @classmethod
    def open(cls, path: Path) -> VideoSource:
        """Looks at a file and its first picture.

        Raises:
            InputError: No video, broken, interlaced, or outside the limits.
        """
        with _opened(path) as container:
            stream = _picture_stream(container, path)
            seconds = _seconds(container)
            first = next(_decoded(container, stream, path), None)
            if first is None:
                raise InputError(f"There is no picture in {path.name}.")
            if not 0 < seconds <= MAX_SECONDS:
                raise InputError(f"{path.name} lasts {seconds:.2f} s; up to a day can be read.")
            width, height = _upright(first, stream)
            return cls(path, seconds, float(stream.average_rate or FPS), FrameSize(width, height),
                       bool(container.streams.audio))  # fmt: skip

    def scaled(self, side: int) -> FrameSize:
        """The size with the longer side at most `side`, both even."""
        scale = min(1.0, side / max(self.size.width, self.size.height))
        width, height = (max(2, round(length * scale / 2) * 2) for length in (self.size.width, self.size.height))
        return FrameSize(width, height)

    def frames(self, start: float, seconds: float, side: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures of a part, in order, scaled down to `side` pixels at most.

        Yields:
            `[H, W, 3]` uint8 RGB, `round(seconds * 25)` at most; fewer where the file ends.

        Raises:
            InputError: The file is broken; what came before is good.
        """
        count, size = round(seconds * FPS), self.scaled(side)
        emitted = 0
        with _opened(self.path) as container:
            stream = _picture_stream(container, self.path)
            _seek(container, start)
            for end, frame in _shown(container, stream, self.path):
                pixels: NDArray[np.uint8] | None = None
                while emitted < count and start + (emitted + 0.5) / FPS < end:
                    pixels = _pixels(frame, size) if pixels is None else pixels
                    yield pixels
                    emitted += 1
                if emitted == count:
                    return

    def speech(self, start: float, seconds: float) -> NDArray[np.float32]:
        """The sound of a part, mono.

        Returns:
            `[round(seconds * 16000)]` float32, full scale at 1; silence where the file has no sound.

        Raises:
            InputError: The sound is broken.
        """
        length = round(seconds * SPEECH_RATE)
        if not self.sound:
            return np.zeros(length, np.float32)
        with _opened(self.path) as container:
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            if not _RATES[0] <= rate <= _RATES[1] or not 1 <= stream.codec_context.channels <= MAX_CHANNELS:
                raise InputError(
                    f"The sound of {self.path.name} has {rate} Hz and {stream.codec_context.channels} channels.",
                    f"{_RATES[0]}..{_RATES[1]} Hz and up to {MAX_CHANNELS} channels can be read.",
                )
            _seek(container, start)
            lead = round(_LEAD * rate)
            heard = np.zeros(math.ceil(seconds * rate) + 2 * lead, np.float32)
            position: int | None = None
            for moment, samples in _heard(container, stream, self.path):
                wanted = round((moment - start) * rate) + lead
                position = wanted if position is None or abs(wanted - position) > _JITTER * rate else position
                if position >= len(heard):
                    break
                end = position + len(samples)
                room = heard[max(0, position) : max(0, end)]
                room[:] = samples[len(samples) - (end - max(0, position)) :][: len(room)]
                position = end
        spoken = resample(heard, rate, SPEECH_RATE)
        first = round(_LEAD * SPEECH_RATE)
        return np.ascontiguousarray(spoken[first : first + length])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The container; errors of the file system and the decoder become InputError."""
    import av

    try:
        with path.open("rb") as file, open_container(file, path, "video") as container:
            yield container
    except FileNotFoundError:
        raise InputError(f"There is no video {path}.") from None
    except av.error.FFmpegError as error:
        raise InputError(f"{path.name} is broken: {error.strerror}.") from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or error}.") from None


def _picture_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video:
        raise InputError(f"There is no picture in {path.name}.")
    stream = container.streams.video[0]
    if not MIN_SIDE <= min(stream.width, stream.height) <= max(stream.width, stream.height) <= MAX_SIDE:
        raise InputError(f"{path.name} is {stream.width}x{stream.height}; sides of {MIN_SIDE}..{MAX_SIDE} are read.")
    stream.codec_context.thread_count = 1  # many files are read at once
    return stream


def _origin(container: av.container.InputContainer) -> float:
    return (container.start_time or 0) / 1e6


def _seconds(container: av.container.InputContainer) -> float:
    """Length as the container tells; recordings of browsers do not: then from the packets."""
    if container.duration:
        return container.duration / 1e6
    end = 0.0
    for packet in container.demux(container.streams.video[0]):
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    _seek(container, 0.0)
    return end - _origin(container)


def _seek(container: av.container.InputContainer, start: float) -> None:
    """To the last key frame at least `_LEAD` before `start`, or to the beginning."""
    moment = max(0.0, start - _LEAD) + _origin(container)
    container.seek(math.floor(moment * 1e6), backward=True)


def _decoded(container: av.container.InputContainer, stream: Any, path: Path) -> Iterator[Any]:
    """Frames of a stream; a few broken packets are skipped."""
    import av

    good = bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            if bad > 3 and bad > _TOLERATED_BAD * (good + bad):
                raise InputError(f"{path.name} is broken: {bad} of {good + bad} packets cannot be decoded.") from None
            continue
        good += 1
        yield from frames


def _shown(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Pictures in order, each with the second at which the next one replaces it."""
    origin, period = _origin(container), 1 / float(stream.average_rate or FPS)
    held: av.VideoFrame | None = None
    moment = 0.0
    for frame in _decoded(container, stream, path):
        if frame.interlaced_frame:
            raise InputError(f"{path.name} is interlaced.", "Convert it first: ffmpeg -i IN -vf bwdif OUT.")
        moment = moment + period if frame.pts is None else float(frame.pts * (stream.time_base or Fraction(1))) - origin
        if held is not None:
            yield moment, held
        held = frame
    if held is not None:
        yield moment + period, held


def _heard(
    container: av.container.InputContainer, stream: av.AudioStream, path: Path
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Blocks of sound, mono `[n]` at the stream's own rate, each with the second it begins at."""
    import av

    origin = _origin(container)
    resampler = av.AudioResampler(format="flt")
    moment = 0.0
    for frame in _decoded(container, stream, path):
        moment = moment if frame.pts is None else float(frame.pts * Fraction(frame.time_base)) - origin
        for block in resampler.resample(frame):
            samples = block.to_ndarray().reshape(-1, len(block.layout.channels)).mean(1, dtype=np.float32)
            if not np.isfinite(samples).all():
                raise InputError(f"{path.name} has samples that are not numbers (NaN or infinite).")
            yield moment, samples
            moment += len(samples) / frame.sample_rate


def _upright(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height as they are to be shown."""
    wide = stream.sample_aspect_ratio or Fraction(1)
    width, height = max(1, round(frame.width * wide)), frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def _pixels(frame: av.VideoFrame, size: FrameSize) -> NDArray[np.uint8]:
    """`[H, W, 3]` RGB, upright."""
    turns = round(frame.rotation / 90) % 4
    width, height = (size.height, size.width) if turns % 2 else (size.width, size.height)
    unsaid = frame.colorspace not in (1, 4, 5, 6, 7, 9)
    colours = "ITU709" if unsaid and frame.height >= _HD_HEIGHT else None
    picture = as_rgb(frame, averaged=True, width=width, height=height, src_colorspace=colours)
    return np.ascontiguousarray(np.rot90(picture, turns))
