"""From speech features to audio tokens: MultiTalk's windows of neighbouring frames, and its audio adapter.

Section 3.1 of arXiv 2505.22647.

Names used in shapes: B batch, P people who speak, F video frames, S stacked layers of the speech encoder, C its
channels, T latent frames, A audio tokens of one person in one latent frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from talkies.domain.errors import InputError


def window_audio(features: torch.Tensor, window: int = 5, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Gives every frame the features of its neighbours (MultiTalk's context window).

    Args:
        features: `[..., F, S, C]`: frames, stacked encoder layers, channels.
        window: Frames in a window; it is centred for odd numbers. Indices are clamped at the ends.
        start: First frame wanted.
        stop: One past the last frame wanted; may lie beyond the features, whose last frame is then repeated.

    Returns:
        `[..., stop - start, window, S, C]`.

    Raises:
        InputError: If there is no frame, or the window is not positive.
    """
    frames = features.shape[-3]
    if frames == 0 or window < 1:
        raise InputError(f"Audio features of {frames} frames cannot be cut into windows of {window}.")
    centres = torch.arange(start, frames if stop is None else stop, device=features.device)
    offsets = torch.arange(window, device=features.device) - window // 2
    index = (centres[:, None] + offsets).clamp(0, frames - 1)  # [F', window]
    return features.index_select(-3, index.flatten()).unflatten(-3, index.shape)


class AudioProjector(nn.Module):
    """MultiTalk's audio adapter: windows of speech features become a few tokens per person and latent frame.

    Latent frame 0 covers one video frame and uses its whole window. A later latent frame covers `stride` video frames
    and takes, of their windows: the first frame's slots up to the centre, the centre of those between, and the last
    frame's slots from the centre on.
    """

    def __init__(
        self, window: int, stride: int, blocks: int, channels: int, hidden_dim: int, output_dim: int, tokens: int
    ) -> None:
        super().__init__()
        self.window, self.stride, self.tokens = window, stride, tokens
        self.proj_first = nn.Linear(window * blocks * channels, hidden_dim)
        self.proj_later = nn.Linear((window + stride - 1) * blocks * channels, hidden_dim)
        self.proj_hidden = nn.Linear(hidden_dim, hidden_dim)
        self.proj_out = nn.Linear(hidden_dim, tokens * output_dim)
        self.norm = nn.LayerNorm(output_dim)

    def later_slots(self, windows: torch.Tensor) -> torch.Tensor:
        """`[..., F, window, S, C]` without frame 0 -> `[..., F / stride, window + stride - 1, S, C]`."""
        grouped = windows.unflatten(-4, (-1, self.stride))  # [..., T-1, stride, window, S, C]
        if self.stride == 1:
            return grouped.squeeze(-4)
        middle = self.window // 2
        first, last = grouped[..., 0, : middle + 1, :, :], grouped[..., -1, middle:, :, :]
        return torch.cat([first, grouped[..., 1:-1, middle, :, :], last], dim=-3)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """`[B, P, stride (T-1) + 1, window, S, C]` -> `[B, P, T, A, output_dim]`."""
        first = F.relu(self.proj_first(windows[:, :, :1].flatten(3)))  # [B, P, 1, hidden]
        later = F.relu(self.proj_later(self.later_slots(windows[:, :, 1:]).flatten(3)))  # [B, P, T-1, hidden]
        hidden = F.relu(self.proj_hidden(torch.cat([first, later], dim=2)))  # [B, P, T, hidden]
        return self.norm(self.proj_out(hidden).unflatten(-1, (self.tokens, -1)))
