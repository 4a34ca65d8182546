"""Sound in: any container, rate and number of channels PyAV reads, decoded in blocks so that hours fit in memory."""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.conversation import MAX_SECONDS
from talkies.domain.errors import InputError, TalkiesError
from talkies.domain.timeline import Timeline, Utterance
from talkies.media.loudness import LoudnessMeter, gain_to

if TYPE_CHECKING:
    import av

#: The rate speech features are computed at (paper, section 3), in Hz.
SPEECH_RATE = 16_000
#: The loudness speech is brought to before features are computed, in LUFS (authors' program).
SPEECH_LUFS = -23.0

MIN_SECONDS = 0.04
MAX_CHANNELS = 64
_RATES = (1_000, 768_000)
#: Demuxers that read other files or devices than the one they are given.
_REFUSED_FORMATS = {
    "hls",
    "concat",
    "dash",
    "sdp",
    "rtsp",
    "rtp",
    "lavfi",
    "image2",
    "imf",
    "webm_dash_manifest",
    "alsa",
}
#: Broken packets up to this share are skipped, as players do (junk at the end of an mp3).
_TOLERATED_BAD = 0.05

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """What one pass over a sound file tells.

    Attributes:
        path: The file.
        seconds: Its length, counted from the decoded samples, not from what the container claims.
        rate: Sampling rate in Hz.
        channels: How many.
        lufs: Integrated loudness of the mono mix at 16 kHz; -inf for silence.
        peak: Largest absolute sample of the mono mix.
    """

    path: Path
    seconds: float
    rate: int
    channels: int
    lufs: float
    peak: float

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear (below -80 dBFS all along)."""
        return self.peak < 1e-4


def decode(path: Path, rate: int, channels: int = 1) -> Iterator[Samples]:
    """Decodes a file in blocks.

    One channel from many is their mean; two from one is the same twice; two from more is the usual down-mix.

    Args:
        path: Any file with sound; of several sound tracks the first.
        rate: Wanted rate in Hz.
        channels: 1 or 2.

    Yields:
        `[n, channels]` float32, full scale at 1.0.

    Raises:
        InputError: No sound in it, broken, or outside the limits.
    """
    import av

    try:
        with path.open("rb") as file, open_container(file, path) as container:
            frames = _frames(container, _audio_stream(container, path), path)
            # recordings that were joined without a thought change their rate or channels on the way
            for (layout, *_), alike in itertools.groupby(frames, lambda f: (f.layout, f.sample_rate, f.format.name)):
                resampler = _resampler(layout, channels, rate)
                for frame in itertools.chain(alike, [None]):
                    for block in resampler.resample(frame):
                        yield _channels(block.to_ndarray().reshape(-1, len(block.layout.channels)), channels, path)
    except FileNotFoundError:
        raise InputError(f"There is no audio file {path}.") from None
    except av.error.FFmpegError as error:
        raise InputError(f"{path.name} is broken: {error.strerror}.") from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or error}.") from None


def _resampler(source: av.AudioLayout, channels: int, rate: int) -> av.AudioResampler:
    import av

    # Channels without meaning ("8 channels") cannot be mixed by position: they become their mean in the end.
    placed = len(source.channels) > 2 and not source.name.endswith("channels")
    # Interleaved: PyAV's planar frames hold eight channels at most.
    return av.AudioResampler(format="flt", layout="stereo" if channels == 2 and placed else None, rate=rate)


def open_container(file: Any, path: Path, what: str = "sound file") -> av.container.InputContainer:
    """Opens a sound or video file that is already open as `file`, so that it can reach nothing but itself.

    Raises:
        InputError: It is none, or a playlist.
    """
    import av

    try:
        # Through a file object and with no protocol allowed, a playlist cannot reach any other file or the network.
        container = av.open(file, mode="r", options={"protocol_whitelist": "none"}, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path.name} is not a {what} that can be read ({getattr(error, 'strerror', error)}).",
            "Any common audio or video file will do: wav, mp3, m4a, flac, ogg, mp4, ...",
        ) from None
    if _REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise InputError(f"{path.name} is a playlist, not a {what}.", "Give the recording itself.")
    return container


_open = open_container


def _audio_stream(container: av.container.InputContainer, path: Path) -> av.AudioStream:
    if not container.streams.audio:
        raise InputError(f"{path.name} has no sound in it.")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if not 1 <= context.channels <= MAX_CHANNELS:
        raise InputError(f"{path.name} has {context.channels} channels; at most {MAX_CHANNELS} can be read.")
    if not _RATES[0] <= context.sample_rate <= _RATES[1]:
        raise InputError(
            f"{path.name} has a sampling rate of {context.sample_rate} Hz; {_RATES[0]}..{_RATES[1]} can be read."
        )
    return stream


def _frames(container: av.container.InputContainer, stream: av.AudioStream, path: Path) -> Iterator[av.AudioFrame]:
    import av

    good = bad = samples = 0
    limit = MAX_SECONDS * stream.codec_context.sample_rate
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            continue
        good += 1
        for frame in frames:
            samples += frame.samples
            if samples > limit:
                raise InputError(f"{path.name} is longer than a day; that is refused.")
            yield frame
    if bad > _TOLERATED_BAD * (good + bad):
        raise InputError(f"{path.name} is broken: {bad} of its {good + bad} packets cannot be decoded.")


def _channels(samples: NDArray[Any], channels: int, path: Path) -> Samples:
    if not np.isfinite(samples).all():
        raise InputError(f"{path.name} has samples that are not numbers (NaN or infinite).")
    if samples.shape[1] == channels:
        return np.ascontiguousarray(samples, dtype=np.float32)
    if samples.shape[1] > 1:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.repeat(samples, channels, axis=1)


def inspect(path: Path) -> Recording:
    """Decodes a file once and measures it, in constant memory.

    Raises:
        InputError: As `decode`, or it is shorter than a video frame.
    """
    try:
        with path.open("rb") if path.is_file() else _missing(path) as file, open_container(file, path) as container:
            context = _audio_stream(container, path).codec_context
            rate, channels = context.sample_rate, context.channels
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or error}.") from None
    meter, count, peak = LoudnessMeter(SPEECH_RATE), 0, 0.0
    for block in decode(path, SPEECH_RATE):
        mono = block[:, 0]
        meter.add(mono)
        count += len(mono)
        peak = max(peak, float(np.abs(mono).max(initial=0.0)))
    seconds = count / SPEECH_RATE
    if seconds < MIN_SECONDS:
        raise InputError(f"{path.name} holds only {seconds:.3f} s of sound; at least {MIN_SECONDS} s are needed.")
    return Recording(path, seconds, rate, channels, meter.integrated(), peak)


def _missing(path: Path) -> Any:
    raise InputError(f"There is no audio file {path}.")


def speech_track(
    utterances: Sequence[Utterance], recordings: dict[Path, Recording], seconds: float, folder: Path
) -> Samples:
    """What one person says as the model hears it: mono, 16 kHz, every recording at -23 LUFS, silence in between.

    The samples live in an unnamed file, mapped into memory: hours cost disk, not memory.

    Args:
        utterances: The person's; none gives silence.
        recordings: Measurements of every file, from `inspect`.
        seconds: Length of the whole video.
        folder: Where the unnamed file may lie.

    Returns:
        `[round(seconds * 16000)]` float32.

    Raises:
        TalkiesError: The disk has no room for it.
    """
    length = max(1, math.floor(seconds * SPEECH_RATE + 0.5))
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file, length * 4, folder)
        track: Samples = np.memmap(file, dtype=np.float32, mode="r+", shape=(length,))
    for utterance in utterances:
        gain = gain_to(SPEECH_LUFS, recordings[utterance.audio].lufs)
        position = math.floor(utterance.start * SPEECH_RATE + 0.5)
        for block in decode(utterance.audio, SPEECH_RATE):
            room = track[position : position + len(block)]
            room += block[: len(room), 0] * gain
            position += len(block)
    return track


def _reserve(file: Any, size: int, folder: Path) -> None:
    """Zeros on the disk, so that it cannot be full later, when memory that is mapped to it is written."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError as error:
        raise TalkiesError(
            f"There is no room for {max(1, round(size / 1e6))} MB of sound in {folder}: {error.strerror or error}.",
            "Make room.",
        ) from None


@dataclass(frozen=True)
class Mix:
    """The sound of the finished video: the untouched originals, summed where they overlap.

    Attributes:
        timeline: Who speaks what and when.
        seconds: Length of the video; the mix is cut or filled with silence to it.
        rate: In Hz.
        channels: 1 or 2.
        gain: 1, or less where overlapping voices would clip.
    """

    timeline: Timeline
    seconds: float
    rate: int
    channels: int
    gain: float = 1.0

    @classmethod
    def of(cls, timeline: Timeline, recordings: dict[Path, Recording], seconds: float) -> Mix:
        """Chooses rate and channels from the recordings, and the gain from one pass over the sum."""
        used = [recordings[utterance.audio] for utterance in timeline.utterances]
        rate = 44_100 if all(44_100 % recording.rate == 0 for recording in used) else 48_000
        channels = 2 if any(recording.channels > 1 for recording in used) else 1
        mix = cls(timeline, seconds, rate, channels)
        peak = max((float(np.abs(block).max(initial=0.0)) for block in mix.blocks(rate)), default=0.0)
        return replace(mix, gain=1.0 if peak <= 1.0 else 1.0 / peak)

    @property
    def length(self) -> int:
        """In samples."""
        return math.floor(self.seconds * self.rate + 0.5)

    def at_rate(self, rate: int) -> Mix:
        """The same sound at another rate in Hz."""
        return replace(self, rate=rate)

    def blocks(self, size: int) -> Iterator[Samples]:
        """The sound in blocks of `size` samples, the last one shorter: `[n, channels]` float32."""
        waiting = [_Placed(utterance, self.rate, self.channels) for utterance in self.timeline.utterances]
        playing: list[_Placed] = []
        for first in range(0, self.length, size):
            block = np.zeros((min(size, self.length - first), self.channels), np.float32)
            while waiting and waiting[0].position < first + len(block):
                playing.append(waiting.pop(0))
            for placed in playing:
                placed.add_to(block, first)
            playing = [placed for placed in playing if not placed.finished]
            yield block * np.float32(self.gain)


class _Placed:
    """One utterance while it is being mixed: decoded only as far as needed."""

    def __init__(self, utterance: Utterance, rate: int, channels: int) -> None:
        self.position = math.floor(utterance.start * rate + 0.5)
        self.finished = False
        self._blocks = decode(utterance.audio, rate, channels)
        self._rest: Samples = np.zeros((0, channels), np.float32)

    def add_to(self, block: Samples, first: int) -> None:
        """Adds what falls into `block`, whose first sample is number `first` of the mix."""
        end = first + len(block)
        while not self.finished and self.position < end:
            if len(self._rest) == 0:
                following = next(self._blocks, None)
                if following is None:
                    self.finished = True
                    return
                self._rest = following
            offset = self.position - first
            count = min(len(self._rest), len(block) - offset)
            block[offset : offset + count] += self._rest[:count]
            self._rest = self._rest[count:]
            self.position += count
