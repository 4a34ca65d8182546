"""Speech features for the audio attention: what a speech encoder is, wav2vec2 as one, and tracks of any length.

MultiTalk section 3 (PAPER): wav2vec2's convolutional features are interpolated to the video's frame rate before its
transformer encoder, and all hidden layers are kept: ``[frames, layers, channels]``.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,  # noqa: F401 - diffusers looks for it beside a pipeline's part, to know how to load it
    Wav2Vec2Model,
)

from talkies.domain.errors import InputError

Waveform = Tensor | np.ndarray
"""Mono samples in [-1, 1], ``[samples]``, float32: a tensor, or an array (a ``numpy.memmap`` keeps hours on disk)."""


@runtime_checkable
class SpeechEncoder(Protocol):
    """Turns a voice into features, one entry per video frame."""

    sampling_rate: int
    """Samples per second it wants."""
    fps: int
    """Video frames per second of its features."""
    blocks: int
    """S: entries per frame (wav2vec2-base: its 12 layers)."""
    channels: int
    """C: channels of an entry (wav2vec2-base: 768)."""

    def encode_speech(self, waveform: Waveform, num_frames: int) -> Tensor:
        """Features of ``waveform`` [samples], ``[num_frames, S, C]``; silence where the video is longer."""
        ...


@runtime_checkable
class RangeSpeechEncoder(SpeechEncoder, Protocol):
    """A speech encoder that can encode a part of a track as it sounds within the whole."""

    whole_frames: int
    """Tracks up to this length are encoded in one piece."""
    piece_frames: int
    """Longer ones are asked for in pieces of this length, each encoded with context on either side."""

    def track_statistics(self, waveform: Waveform, num_frames: int) -> Any:
        """What it must know of the whole track before it can encode a part."""
        ...

    def encode_range(self, waveform: Waveform, num_frames: int, start: int, stop: int, statistics: Any) -> Tensor:
        """Features of frames ``start`` to ``stop``, ``[stop - start, S, C]``."""
        ...


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and variance over a whole track: of its samples, and per channel of the first convolution's output."""

    sample_mean: float
    sample_std: float
    mean: Tensor | None = None
    """``[channels, 1]``, None for encoders without a norm over time."""
    variance: Tensor | None = None


class Wav2Vec2SpeechEncoder(Wav2Vec2Model):
    """wav2vec2 that gives features at the video's frame rate; loads any wav2vec2 folder in transformers' layout.

    Tracks up to ``whole_frames`` (60 s) go through the transformer in one piece: exactly the authors' features. Longer
    ones go in overlapping windows of that length, of which the middle 40 s are used; the convolutions and their
    normalisation over time stay those of the whole track. Memory does not grow with the track, but for the result.
    """

    sampling_rate = 16_000
    fps = 25
    whole_frames = 1500
    piece_frames = 1000
    slice_frames = 250
    """Frames the convolutions see at a time: their activations are large, 6.5 MB per second in wav2vec2-base."""

    @property
    def blocks(self) -> int:
        """Hidden layers, S."""
        return int(self.config.num_hidden_layers)

    @property
    def channels(self) -> int:
        """Channels of a hidden layer, C."""
        return int(self.config.hidden_size)

    @torch.no_grad()
    def encode_speech(self, waveform: Waveform, num_frames: int) -> Tensor:
        """All hidden layers at every video frame.

        Args:
            waveform: ``[samples]``, 16 kHz mono.
            num_frames: F. ``int(samples / 16000 * 25)`` takes the track as it is (the authors' features, bit for bit
                their time grid); more pads it with silence, fewer cuts it.

        Returns:
            ``[F, S, C]`` float32 on the CPU.

        Raises:
            InputError: The waveform is empty, not one-dimensional or not finite.
        """
        statistics = self.track_statistics(waveform, num_frames)
        step = self.piece_frames if num_frames > self.whole_frames else num_frames
        pieces = [
            self.encode_range(waveform, num_frames, start, min(start + step, num_frames), statistics)
            for start in range(0, num_frames, step)
        ]
        return torch.cat(pieces)

    @torch.no_grad()
    def track_statistics(self, waveform: Waveform, num_frames: int) -> ChannelStatistics:
        """Statistics of the whole track, gathered in one pass over it. Arguments as in ``encode_speech``."""
        samples = _Samples(waveform, num_frames, self.sampling_rate // self.fps)
        # wav2vec2 was trained on samples with zero mean and unit variance (its feature extractor's `do_normalize`).
        total, squares = 0.0, 0.0
        for part in samples.blocks(self.slice_frames * samples.per_frame):
            if not torch.isfinite(part.sum()):
                raise InputError("The waveform contains NaN or infinity.", "Decode the audio again.")
            total += float(part.sum(dtype=torch.float64))
            squares += float(part.double().square().sum())
        mean = total / len(samples)
        std = float(np.sqrt(max(squares / len(samples) - mean**2, 0.0) + 1e-7))
        first = self.feature_extractor.conv_layers[0]
        if not isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            return ChannelStatistics(mean, std)
        plain = ChannelStatistics(mean, std)
        kernel, stride = self.config.conv_kernel[0], self.config.conv_stride[0]
        outputs = (len(samples) - kernel) // stride + 1
        per_slice = self.slice_frames * samples.per_frame // stride
        sums = torch.zeros(2, self.config.conv_dim[0], dtype=torch.float64, device=self.device)
        for begin in range(0, outputs, per_slice):
            end = min(begin + per_slice, outputs)
            hidden = first.conv(self._normalised(samples, begin * stride, (end - 1) * stride + kernel, plain))[0]
            sums[0] += hidden.sum(-1, dtype=torch.float64)
            sums[1] += hidden.square().sum(-1, dtype=torch.float64)
        channel_mean = sums[0] / outputs
        variance = (sums[1] / outputs - channel_mean**2).clamp_min(0)
        return ChannelStatistics(mean, std, channel_mean.float()[:, None], variance.float()[:, None])

    @torch.no_grad()
    def encode_range(
        self, waveform: Waveform, num_frames: int, start: int, stop: int, statistics: ChannelStatistics
    ) -> Tensor:
        """Frames ``start`` to ``stop`` of ``encode_speech``, ``[stop - start, S, C]``.

        Up to ``whole_frames`` frames with their context are held at once: ask for the same ranges to get the same
        features, since a window's edges see less context.
        """
        samples = _Samples(waveform, num_frames, self.sampling_rate // self.fps)
        whole = num_frames <= self.whole_frames
        context = (self.whole_frames - self.piece_frames) // 2
        first = 0 if whole else max(start - context, 0)
        last = num_frames if whole else min(stop + context, num_frames)
        features = torch.cat(
            [
                self._frame_features(samples, begin, min(begin + self.slice_frames, last), statistics)
                for begin in range(first, last, self.slice_frames)
            ]
        )  # [last - first, conv channels]
        hidden, _ = self.feature_projection(features[None].to(self.dtype))  # [1, last - first, C]
        with _outputs_of(self.encoder.layers) as layers:
            self.encoder(hidden)
        stacked = torch.cat(layers).transpose(0, 1)  # [last - first, S, C]
        return stacked[start - first : stop - first].float().cpu()

    def _frame_features(self, samples: _Samples, begin: int, end: int, statistics: ChannelStatistics) -> Tensor:
        """Convolutional features interpolated (align_corners) to frames ``begin`` to ``end``, ``[end - begin, c]``."""
        stride, reach = self._conv_geometry()
        count = (len(samples) - reach) // stride + 1  # convolutional features of the whole track
        # In single precision, like torch's own interpolation: the positions must round the same way.
        scale = torch.tensor(float(count - 1)) / max(samples.num_frames - 1, 1)
        position = torch.arange(begin, end, dtype=torch.float32) * scale
        low = position.floor().long().clamp(max=count - 1)
        high = (low + 1).clamp(max=count - 1)
        weight = (position - low).to(self.device, self.dtype)[:, None]
        origin = int(low[0])
        hidden = self._normalised(samples, origin * stride, int(high[-1]) * stride + reach, statistics)  # [1, 1, n]
        for index, layer in enumerate(self.feature_extractor.conv_layers):
            if index == 0 and statistics.mean is not None and statistics.variance is not None:
                norm = layer.layer_norm
                scaled = (layer.conv(hidden) - statistics.mean) * (statistics.variance + norm.eps).rsqrt()
                hidden = layer.activation(scaled * norm.weight[:, None] + norm.bias[:, None])
            else:
                hidden = layer(hidden)
        features = hidden[0].transpose(0, 1)  # [conv features, c]
        below, above = features[(low - origin).to(self.device)], features[(high - origin).to(self.device)]
        return torch.lerp(below, above, weight)

    def _normalised(self, samples: _Samples, begin: int, end: int, statistics: ChannelStatistics) -> Tensor:
        """Samples ``begin`` to ``end`` with zero mean and unit variance, ``[1, 1, end - begin]``."""
        part = (samples.read(begin, end) - statistics.sample_mean) / statistics.sample_std
        return part.to(self.device, self.dtype)[None, None]

    def _conv_geometry(self) -> tuple[int, int]:
        """Samples between two convolutional features, and samples one of them sees."""
        stride, reach = 1, 1
        for kernel, step in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            reach += (kernel - 1) * stride
            stride *= step
        return stride, reach


class FeatureTrack(Protocol):
    """One person's features over a whole video."""

    def frames(self, start: int, stop: int) -> Tensor:
        """Features of frames ``start`` to ``stop`` of the video, ``[stop - start, S, C]``."""
        ...


@dataclass(frozen=True, eq=False)
class ReadyTrack:
    """Features computed beforehand, ``[F, S, C]``; beyond their end the last frame is repeated, as in the paper."""

    features: Tensor

    def frames(self, start: int, stop: int) -> Tensor:
        """Features of frames ``start`` to ``stop``, ``[stop - start, S, C]``."""
        return self.features[torch.arange(start, stop).clamp(max=len(self.features) - 1)]


class SpeechTrack:
    """One person's features over a whole video, computed piece by piece as they are asked for.

    The pieces lie on a fixed grid, so the features of a frame do not depend on which frames were asked for before.

    Args:
        encoder: A speech encoder. One that cannot encode ranges gets pieces cut out of a long track, with context.
        waveform: ``[samples]`` at the encoder's rate; may be shorter than the video, or empty (a silent person).
        num_frames: Frames of the video that may be asked for.
    """

    kept_pieces = 2
    """Neighbouring pieces held at once: a segment may lie across their border."""
    whole_frames = 1500
    piece_frames = 1000
    """For encoders that do not say: tracks up to the first go in one piece, longer ones in pieces of the second."""
    context_frames = 50

    def __init__(self, encoder: SpeechEncoder, waveform: Waveform, num_frames: int) -> None:
        self._encoder = encoder
        self._waveform = waveform if len(waveform) else np.zeros(1, dtype=np.float32)
        self.num_frames = num_frames
        self._pieces: OrderedDict[int, Tensor] = OrderedDict()
        self._statistics: Any = None
        sizes = encoder if isinstance(encoder, RangeSpeechEncoder) else self
        self._step = num_frames if num_frames <= sizes.whole_frames else sizes.piece_frames

    def frames(self, start: int, stop: int) -> Tensor:
        """Features of frames ``start`` to ``stop`` of the video, ``[stop - start, S, C]`` float32 on the CPU."""
        if not 0 <= start < stop <= self.num_frames:
            raise IndexError(f"frames {start} to {stop} of a track of {self.num_frames}")
        parts = []
        for number in range(start // self._step, (stop - 1) // self._step + 1):
            origin = number * self._step
            parts.append(self._piece(number)[max(start - origin, 0) : stop - origin])
        return torch.cat(parts)

    def _piece(self, number: int) -> Tensor:
        if number not in self._pieces:
            self._pieces[number] = self._encode(number * self._step).float().cpu()
            release_pages(self._waveform)
            while len(self._pieces) > self.kept_pieces:
                self._pieces.popitem(last=False)
        self._pieces.move_to_end(number)
        return self._pieces[number]

    def _encode(self, start: int) -> Tensor:
        encoder, frames = self._encoder, self.num_frames
        samples = _Samples(self._waveform, frames, encoder.sampling_rate // encoder.fps)
        if self._step == frames:
            return encoder.encode_speech(samples.read(0, len(samples)), frames)
        stop = min(start + self._step, frames)
        if isinstance(encoder, RangeSpeechEncoder):
            if self._statistics is None:
                self._statistics = encoder.track_statistics(self._waveform, frames)
            return encoder.encode_range(self._waveform, frames, start, stop, self._statistics)
        first, last = max(start - self.context_frames, 0), min(stop + self.context_frames, frames)
        part = samples.read(first * samples.per_frame, last * samples.per_frame)
        return encoder.encode_speech(part, last - first)[start - first : stop - first]


class _Samples:
    """A waveform as long as its video, read in parts: zeros where it has ended."""

    def __init__(self, waveform: Waveform, num_frames: int, per_frame: int) -> None:
        if waveform.ndim != 1 or len(waveform) == 0 or num_frames < 1:
            raise InputError(
                f"A waveform of shape {tuple(waveform.shape)} cannot be encoded for {num_frames} frames.",
                "Give one channel of samples, [samples], and at least one frame.",
            )
        self._waveform = waveform
        self.num_frames = num_frames
        self.per_frame = per_frame
        # A track that has as many whole frames as asked for is taken with its last, incomplete frame, as the authors
        # do: that is what int(duration * 25) steps means.
        self._length = len(waveform) if len(waveform) // per_frame == num_frames else num_frames * per_frame

    def __len__(self) -> int:
        return self._length

    def read(self, begin: int, end: int) -> Tensor:
        """Samples ``begin`` to ``end``, float32 on the CPU."""
        part = np.array(self._waveform[begin : min(end, self._length)], dtype=np.float32)
        return F.pad(torch.from_numpy(part), (0, end - begin - len(part)))

    def blocks(self, size: int) -> Iterator[Tensor]:
        """All samples, ``size`` at a time."""
        for begin in range(0, self._length, size):
            yield self.read(begin, min(begin + size, self._length))


def release_pages(waveform: Waveform) -> None:
    """Gives the memory of a mapped file that was read back to the system; it stays on the disk. Else does nothing.

    Hours of sound would otherwise fill the memory as they are read, page by page.
    """
    # "c" maps private copies, which would be lost.
    if isinstance(waveform, np.memmap) and waveform.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        base: Any = waveform
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)


@contextmanager
def _outputs_of(layers: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collects what each layer returns, in order. transformers returns a tensor or a tuple, depending on its age."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _arguments: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
