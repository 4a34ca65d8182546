"""One clip out of one video: its span at 25 frames per second and 16 kHz, its window at the set's size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.domain.clip import FPS, FrameSize
from talkies.domain.errors import InputError
from talkies.domain.timeline import Timeline, Utterance
from talkies.evaluation.datasets.listed import ListedClip, RefusedError, Window
from talkies.media.audio import SPEECH_RATE, Mix
from talkies.media.shards import encode_wav
from talkies.media.staging import require_writable, staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.media.video_source import VideoSource

#: Constant rate factor: no difference can be seen.
_CRF = 12
#: Sound below this everywhere is silence, full scale at 1.
_SILENT = 1e-4


@dataclass(frozen=True)
class Cut:
    """What was made.

    Attributes:
        start, end: Seconds of the video. window: Of its pictures. frames: Of the clip. note: What is to be known.
    """

    start: float
    end: float
    window: Window
    frames: int
    note: str


def cut(
    clip: ListedClip, path: Path, out: Path, side: int, seconds: float | None = None,
    proceed: Callable[[], None] = lambda: None,
) -> Cut:  # fmt: skip
    """Writes a clip: H.264, visually lossless, with its sound as AAC; whole or not at all.

    Args:
        clip: Of a list. path: Its video. out: The file, `.mp4`.
        side: Longer side of the clip, even. seconds: At most so many from its beginning; None: all.
        proceed: Called before every frame; may raise to stop.

    Raises:
        RefusedError: It cannot be made of this video.
        TalkiesError: It cannot be written.
    """
    require_writable(out)
    try:
        video = VideoSource.open(path)
        picture = video.scaled(max(video.size.width, video.size.height))
        window, note = clip.framing(picture)
        start, end = _span(clip, video)
        wanted = round((end - start if seconds is None else min(end - start, seconds)) * FPS)
        count = min(wanted, round((video.seconds - start) * FPS))
        if count < 1:
            raise RefusedError("empty span", f"from {start:.3f} to {end:.3f} s")
        speech = video.speech(start, count / FPS)
        if np.abs(speech).max() < _SILENT:
            raise RefusedError("no sound", "nothing is heard in this span" if video.sound else "the video has none")
        size = FrameSize(side, side) if clip.square else _fitting(window, side)
        with staged(out) as scratch:
            frames = _write(scratch, video, start, speech, window, size, proceed)
            if frames < count:  # the pictures end before the container says
                if frames == 0 or (wanted - frames) / FPS > _tolerance(clip, video):
                    raise RefusedError("beyond the end", f"the pictures end at {start + frames / FPS:.2f} s")
                # Once more, with sound that ends with the pictures.
                count = _write(scratch, video, start, speech[: frames * SPEECH_RATE // FPS], window, size, proceed)
    except InputError as error:
        raise RefusedError("broken video", str(error)) from None
    missing = f"{wanted - count} frames shorter than listed: the video ends" if count < wanted else ""
    return Cut(start, start + count / FPS, window, count, "; ".join(filter(None, (note, missing))))


def _span(clip: ListedClip, video: VideoSource) -> tuple[float, float]:
    """Start and end in seconds of the video; the end may lie a little behind the video's."""
    start, end = clip.start + clip.trim / video.fps, clip.end - clip.trim / video.fps
    if end > video.seconds + _tolerance(clip, video) or start >= video.seconds:
        raise RefusedError("beyond the end", f"the span ends at {end:.2f} s, the video at {video.seconds:.2f} s")
    return start, end


def _tolerance(clip: ListedClip, video: VideoSource) -> float:
    """Seconds that may be missing: what the list is rounded to, and a frame of either rate."""
    return clip.slack + 1 / FPS + 1 / video.fps


def _fitting(window: Window, side: int) -> FrameSize:
    """The window's shape with the longer side `side`, both even."""
    scale = side / max(window.width, window.height)
    return FrameSize(*(max(2, round(length * scale / 2) * 2) for length in (window.width, window.height)))


def _write(
    scratch: Path, video: VideoSource, start: float, speech: NDArray[np.float32], window: Window, size: FrameSize,
    proceed: Callable[[], None],
) -> int:  # fmt: skip
    """As many frames as there is sound for, or as the video has; returns how many."""
    seconds = len(speech) / SPEECH_RATE
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        sound.write_bytes(encode_wav(speech))
        mix = Mix(Timeline((Utterance(0, sound, 0.0, seconds),)), seconds, SPEECH_RATE, 1)
        with VideoWriter(scratch, size, VideoSettings(crf=_CRF), mix) as writer:
            for frame in video.frames(start, seconds, max(video.size.width, video.size.height)):
                proceed()
                writer.write(_cropped(frame, window, size)[None])
            return writer.frames_written


def _cropped(frame: NDArray[np.uint8], window: Window, size: FrameSize) -> NDArray[np.uint8]:
    """`[H, W, 3]` to `[size.height, size.width, 3]`; pixels around the window play no part."""
    part = frame[window.top : window.top + window.height, window.left : window.left + window.width]
    picture = Image.fromarray(part).resize((size.width, size.height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8)
