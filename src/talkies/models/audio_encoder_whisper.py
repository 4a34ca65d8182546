"""Speech features for the small model: Whisper's encoder, then a small head that listens for what lips do.

Whisper-tiny's encoder (MIT, Radford et al. 2022) has heard 680,000 hours of people, so that a model whose own training
speech is all synthetic still understands recordings. It is run in short overlapping windows: every feature sees the
same amount of context wherever it lies, memory is constant in the length, and a film of hours costs no more per second
than one of a second. The head (a few convolutions, trained here on phoneme-exact face units) condenses its hidden
states to a few channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder

RATE = 16_000
HOP = 160  # samples between spectrogram columns; two columns to a hidden state
SUBFRAMES = 2  # hidden states (50 Hz) to a video frame (25 Hz)


class WhisperSpeechEncoder(ModelMixin, ConfigMixin):
    """Waveform in, stacked features per video frame out.

    Args:
        hidden_size, num_layers, num_heads: Whisper's encoder (tiny: 384, 4, 6; its last layer is about words, not
            sounds, and says less about lips than the ones before, so three are kept).
        tapped_layers: Which hidden states the head reads (0 = after the convolutions).
        head_channels: Width of the head.
        feature_channels: Channels of the result, `C`; the stack has two entries a frame, `S = 2`.
        window_frames, context_frames: Video frames to a window, and how many on each side are context only.
    """

    sampling_rate = RATE
    fps = 25

    @register_to_config
    def __init__(
        self,
        hidden_size: int = 384,
        num_layers: int = 3,
        num_heads: int = 6,
        num_mel_bins: int = 80,
        tapped_layers: Sequence[int] = (1, 2, 3),
        head_channels: int = 192,
        feature_channels: int = 64,
        window_frames: int = 150,
        context_frames: int = 38,
    ) -> None:
        super().__init__()
        self.whisper = WhisperEncoder(
            WhisperConfig(
                d_model=hidden_size,
                encoder_layers=num_layers,
                encoder_attention_heads=num_heads,
                encoder_ffn_dim=4 * hidden_size,
                num_mel_bins=num_mel_bins,
                max_source_positions=SUBFRAMES * window_frames,
            )
        )
        self.whisper.layer_norm = nn.Identity()  # type: ignore[assignment]  # the head has its own norms
        self.norms = nn.ModuleList([nn.LayerNorm(hidden_size) for _ in tapped_layers])
        self.reduce = nn.Linear(hidden_size * len(tapped_layers), head_channels)
        self.listen = nn.Sequential(
            nn.Conv1d(head_channels, head_channels, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(head_channels, head_channels, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(head_channels, feature_channels, 1),
        )
        self.norm_out = nn.LayerNorm(feature_channels, elementwise_affine=False)
        filters = mel_filter_bank(201, num_mel_bins, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("mel_filters", torch.from_numpy(filters).float(), persistent=False)  # [201, mel]

    @property
    def blocks(self) -> int:
        """Entries of the stack per video frame, `S`."""
        return SUBFRAMES

    @property
    def channels(self) -> int:
        """Channels of every entry, `C`."""
        return int(self.config.feature_channels)

    def spectrogram(self, windows: Tensor) -> Tensor:
        """Whisper's log-mel spectrogram: `[N, samples]` -> `[N, mel, samples/160]`.

        The ceiling has a floor of its own: a silent window is as dark as the pauses of a loud one.
        """
        hann = torch.hann_window(400, device=windows.device)
        spectrum = torch.stft(windows.float(), 400, HOP, window=hann, return_complex=True)[..., :-1].abs() ** 2
        mel = (self.mel_filters.T @ spectrum).clamp_min(1e-10).log10()
        ceiling = mel.amax((1, 2), keepdim=True).clamp_min(0.5)
        return (torch.maximum(mel, ceiling - 8) + 4) / 4

    def hidden_states(self, windows: Tensor) -> Tensor:
        """The tapped layers of Whisper: `[N, samples]` of one window each -> `[N, 2*window_frames, taps, hidden]`."""
        x = self.spectrogram(windows).to(self.whisper.conv1.weight.dtype)
        x = F.gelu(self.whisper.conv2(F.gelu(self.whisper.conv1(x)))).transpose(1, 2)
        x = x + self.whisper.embed_positions.weight
        tapped = [x] if 0 in self.config.tapped_layers else []
        for index, layer in enumerate(self.whisper.layers, 1):
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
            if index in self.config.tapped_layers:
                tapped.append(x)
        return torch.stack(tapped, 2)

    def head(self, hidden: Tensor) -> Tensor:
        """`[N, t, taps, hidden]` -> features `[N, t, C]`."""
        normed = torch.cat([norm(hidden[:, :, k]) for k, norm in enumerate(self.norms)], -1)
        return self.norm_out(self.listen(self.reduce(normed).transpose(1, 2)).transpose(1, 2))

    def windows(self, waveform: Tensor, num_frames: int) -> Tensor:
        """Cuts a mono waveform `[samples]` into overlapping windows, zeros beyond its ends: `[N, samples]`."""
        context, window = self.config.context_frames, self.config.window_frames
        step = window - 2 * context
        count = -(-num_frames // step)
        samples = RATE // self.fps
        total = (step * (count - 1) + window) * samples
        padded = F.pad(waveform.float(), (context * samples, max(0, total - context * samples - len(waveform))))
        return padded[:total].unfold(0, window * samples, step * samples)

    def join(self, per_window: Tensor, num_frames: int) -> Tensor:
        """The middle of every window, joined: `[N, 2*window, ...]` -> `[num_frames, 2, ...]`."""
        context = self.config.context_frames
        middle = per_window.unflatten(1, (-1, SUBFRAMES))[:, context : self.config.window_frames - context]
        return middle.flatten(0, 1)[:num_frames]

    @torch.no_grad()
    def encode_speech(self, waveform: Tensor, num_frames: int) -> Tensor:
        """Features of speech, frame by frame.

        Args:
            waveform: `[samples]`, mono, 16 kHz, float in about [-1, 1], loudness-normalised (-23 LUFS).
            num_frames: Video frames at 25 fps; beyond the sound's end they hear silence.

        Returns:
            `[num_frames, 2, C]` float32.
        """
        windows = self.windows(waveform, num_frames).to(self.device)
        parts = [self.head(self.hidden_states(part)).float() for part in windows.split(4)]  # constant memory
        return self.join(torch.cat(parts), num_frames)
