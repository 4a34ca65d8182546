"""Video out: frames are encoded as they come, sound beside them, so that memory does not grow with length."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS, FrameSize
from talkies.domain.errors import InputError
from talkies.media.colours import as_yuv

if TYPE_CHECKING:
    import av

    from talkies.media.audio import Mix

Format = Literal["mp4", "webm", "gif", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)

Frames = NDArray[np.uint8]

_SUFFIXES: dict[str, Format] = {".mp4": "mp4", ".m4v": "mp4", ".webm": "webm", ".gif": "gif", "": "png"}
#: Longest side the encoders are asked for.
MAX_SIDE = 8192


@dataclass(frozen=True)
class VideoSettings:
    """How frames become a file.

    Attributes:
        format: `mp4` (H.264, AAC), `webm` (VP9, Opus), `gif` (no sound) or `png` (a folder of numbered pictures and
            `sound.wav`).
        fps: Frames per second of the file; the model's 25 are repeated or left out to match.
        crf: Constant rate factor of the encoder: 0 (best) to 51; 17 looks like the original.
        metadata: Tags to embed; values are text.
    """

    format: Format = "mp4"
    fps: Fraction = Fraction(FPS)
    crf: int = 17
    metadata: Mapping[str, str] = field(default_factory=dict)


def format_of(path: Path, wanted: str | None = None) -> Format:
    """The format to write to `path`: the one asked for, or the one its suffix says.

    Raises:
        InputError: Unknown, or the two disagree.
    """
    suffix = _SUFFIXES.get(path.suffix.lower())
    if wanted is None:
        if suffix is None:
            raise InputError(f"What format is {path.name}?", "Use .mp4, .webm or .gif, or a folder with --format png.")
        return suffix
    if wanted not in FORMATS:
        raise InputError(f"Unknown format {wanted!r}.", f"Known: {', '.join(FORMATS)}.")
    if wanted != suffix:
        right = "a name without suffix: a folder" if wanted == "png" else f"a name ending in .{wanted}"
        raise InputError(f"The output {path.name} does not go with --format {wanted}.", f"Give {right}.")
    return FORMATS[FORMATS.index(suffix)]


def parse_fps(text: str) -> Fraction:
    """Reads `25`, `23.976` or `30000/1001`.

    Raises:
        InputError: Not a number in 1..120.
    """
    try:
        # An exponent could ask for a number of any length.
        fps = Fraction(text.strip() if len(text) <= 32 and "e" not in text.lower() else "?")
    except (ValueError, ZeroDivisionError):
        raise InputError(f"Frame rate {text!r} is not a number.", "Write it like 25 or 30000/1001.") from None
    if not 1 <= fps <= 120:
        raise InputError(f"Frame rate {text} is out of range 1..120.")
    return fps.limit_denominator(100_000)


class VideoWriter:
    """Encodes frames as they come.

    Use as a context manager around a name from `staging.staged`; leaving the block finishes the file.

    Args:
        path: File (for `png`: folder) to write.
        size: Of the frames, both sides even.
        settings: Format and quality.
        sound: What is to be heard, or None.

    Raises:
        InputError: A side is odd or too large.
    """

    def __init__(self, path: Path, size: FrameSize, settings: VideoSettings, sound: Mix | None = None) -> None:
        if size.width % 2 or size.height % 2 or max(size.width, size.height) > MAX_SIDE:
            raise InputError(
                f"A video of {size} cannot be encoded.", f"Both sides must be even and at most {MAX_SIDE}."
            )
        self.frames_written = 0
        self._path, self._size, self._settings, self._sound = path, size, settings, sound
        self._received = 0
        self._emitted = 0
        self._output: _Folder | _Container | None = None

    def __enter__(self) -> Self:
        kind = _Folder if self._settings.format == "png" else _Container
        self._output = kind(self._path, self._size, self._settings, self._sound)
        return self

    def write(self, frames: Frames) -> None:
        """Encodes the next frames: `[n, height, width, 3]` uint8 RGB at the model's 25 frames per second."""
        if frames.dtype != np.uint8 or frames.shape[1:] != (self._size.height, self._size.width, 3):
            raise ValueError(
                f"frames are {frames.dtype} {frames.shape}, not uint8 [n, {self._size.height}, {self._size.width}, 3]"
            )
        assert self._output is not None, "used outside its with block"  # noqa: S101
        for frame in frames:
            # Frame i of the model is on screen from i/25 s until (i+1)/25 s.
            while Fraction(self._emitted) / self._settings.fps < Fraction(self._received + 1, FPS):
                self._output.frame(frame, self._emitted)
                self._emitted += 1
            self._received += 1
        self.frames_written = self._emitted
        self._output.sound_until(Fraction(self._received, FPS))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._output is not None  # noqa: S101
        if kind is None:
            self._output.sound_until(None)
            self._output.finish()
        else:
            self._output.abandon()


class _Container:
    """One file with a video track and perhaps a sound track, by PyAV."""

    def __init__(self, path: Path, size: FrameSize, settings: VideoSettings, sound: Mix | None) -> None:
        import av

        options = {"movflags": "+faststart+use_metadata_tags"} if settings.format == "mp4" else {}
        self._file = av.open(str(path), "w", format=settings.format, options=options)
        self._file.metadata.update(settings.metadata)
        self._settings = settings
        self._video = self._video_stream(size, settings)
        self._palette = _gif_palette(size, settings.fps) if settings.format == "gif" else None
        self._sound: Iterator[NDArray[np.float32]] | None = None
        self._samples = 0
        if sound is not None and settings.format != "gif":
            codec = "aac" if settings.format == "mp4" else "libopus"
            self._rate = sound.rate if settings.format == "mp4" else 48_000
            self._channels = sound.channels
            self._audio = cast(
                "av.AudioStream", self._file.add_stream(codec, rate=self._rate, layout=_layout(sound.channels))
            )
            self._audio.bit_rate = 96_000 * sound.channels
            self._sound = sound.at_rate(self._rate).blocks(self._rate // 4)

    def _video_stream(self, size: FrameSize, settings: VideoSettings) -> av.VideoStream:
        from av.video import reformatter

        codec, pixels, options = {
            # No mbtree: with AVX-512 it reads memory it never wrote, and equal frames would not give equal bytes.
            "mp4": ("libx264", "yuv420p", {"crf": str(settings.crf), "preset": "medium", "x264-params": "mbtree=0"}),
            "webm": ("libvpx-vp9", "yuv420p", {"crf": str(settings.crf + 8), "b": "0", "cpu-used": "4", "row-mt": "1"}),
            "gif": ("gif", "pal8", {}),
        }[settings.format]
        stream = cast("av.VideoStream", self._file.add_stream(codec, rate=settings.fps, options=options))
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, pixels
        if pixels == "yuv420p":
            context = stream.codec_context
            context.colorspace = reformatter.Colorspace.ITU709
            context.color_range = reformatter.ColorRange.MPEG
            context.color_primaries = reformatter.ColorPrimaries.BT709
            context.color_trc = reformatter.ColorTrc.BT709
        return stream

    def frame(self, pixels: NDArray[np.uint8], index: int) -> None:
        import av

        if self._palette is None:
            # Tagged and converted as BT.709: players assume it for HD and the default (BT.601) would shift colours.
            frame = as_yuv(pixels)
            frame.pts, frame.time_base = index, 1 / self._settings.fps
            self._file.mux(self._video.encode(frame))
            return
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = index, 1 / self._settings.fps
        self._palette.push(frame)
        self._pull_palette()

    def _pull_palette(self) -> None:
        import av

        assert self._palette is not None  # noqa: S101
        while True:
            try:
                self._file.mux(self._video.encode(self._palette.pull()))
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def sound_until(self, seconds: Fraction | None) -> None:
        """Encodes sound up to the time the picture has reached; None: all that is left."""
        import av

        while self._sound is not None and (seconds is None or self._samples < seconds * self._rate):
            block = next(self._sound, None)
            if block is None:
                self._sound = None
                self._file.mux(self._audio.encode(None))
                return
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(np.clip(block, -1, 1).T), format="fltp", layout=_layout(self._channels)
            )
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._samples, Fraction(1, self._rate)
            self._samples += len(block)
            self._file.mux(self._audio.encode(frame))

    def finish(self) -> None:
        if self._palette is not None:
            self._palette.push(None)
            self._pull_palette()
        self._file.mux(self._video.encode(None))
        self._file.close()

    def abandon(self) -> None:
        # Closing writes a trailer, which may fail again on the disk that was full: the file is removed anyway.
        try:
            self._file.close()
        except OSError:
            return


class _Folder:
    """Numbered PNG pictures and `sound.wav`."""

    def __init__(self, path: Path, size: FrameSize, settings: VideoSettings, sound: Mix | None) -> None:
        path.mkdir()
        self._path, self._settings, self._mix = path, settings, sound
        (path / "settings.json").write_text(json.dumps(dict(settings.metadata), indent=2, ensure_ascii=False) + "\n")

    def frame(self, pixels: NDArray[np.uint8], index: int) -> None:
        from PIL import Image

        Image.fromarray(pixels).save(self._path / f"{index:06d}.png", compress_level=4)

    def sound_until(self, seconds: Fraction | None) -> None:
        """Writes the sound when the pictures are complete."""
        if seconds is not None or self._mix is None:
            return
        import soundfile

        with soundfile.SoundFile(self._path / "sound.wav", "w", self._mix.rate, self._mix.channels, "PCM_16") as file:
            for block in self._mix.blocks(self._mix.rate):
                file.write(np.clip(block, -1, 1))

    def finish(self) -> None:
        """Nothing is left to do."""

    def abandon(self) -> None:
        """Nothing is open."""


def _layout(channels: int) -> str:
    return "stereo" if channels == 2 else "mono"


def _gif_palette(size: FrameSize, fps: Fraction) -> Any:
    """A filter that gives every frame its own 256 colours, with dithering."""
    import av

    graph = av.filter.Graph()
    source = graph.add_buffer(width=size.width, height=size.height, format=av.VideoFormat("rgb24"), time_base=1 / fps)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single")
    apply = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(apply, 1, 0)
    palette.link_to(apply, 0, 1)
    apply.link_to(sink)
    graph.configure()
    return graph
