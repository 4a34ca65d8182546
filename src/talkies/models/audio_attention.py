"""The audio cross-attention, by which every frame of the video hears its own stretch of the voices.

Section 3.1 of arXiv 2505.22647. Who hears whom is told by the rotary tables of `speaker_rope`, or not at all.

Names used in shapes: B batch, P people who speak, T token frames, R tokens in one frame, S = T R tokens of the video,
A audio tokens of one person in one frame, H heads, D channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from talkies.models.speaker_rope import Rotary, apply_rotary


class MultiTalkAudioAttnProcessor:
    """Audio cross-attention, frame by frame: the tokens of a frame hear only that frame's audio."""

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: AudioAttention,
        hidden_states: torch.Tensor,
        audio_hidden_states: torch.Tensor,
        video_rotary_emb: Rotary | None = None,
        audio_rotary_emb: Rotary | None = None,
    ) -> torch.Tensor:
        """Attends.

        Args:
            attn: The projections.
            hidden_states: `[B, S, dim]`.
            audio_hidden_states: `[B, T, P A, audio_dim]`, the people one after the other.
            video_rotary_emb: Tables of the video tokens' labels, `[B, S, 1, D / 2]`, or None for one person.
            audio_rotary_emb: Tables of the audio tokens' labels, `[P A, 1, D / 2]`.

        Returns:
            `[B, S, dim]`.
        """
        batch, frames = audio_hidden_states.shape[:2]
        query = attn.to_q(hidden_states)
        if attn.fused_projections:
            key, value = attn.to_kv(audio_hidden_states).chunk(2, dim=-1)
        else:
            key, value = attn.to_k(audio_hidden_states), attn.to_v(audio_hidden_states)
        query = query.unflatten(-1, (attn.heads, -1))  # [B, S, H, D]
        key, value = key.unflatten(-1, (attn.heads, -1)), value.unflatten(-1, (attn.heads, -1))  # [B, T, P A, H, D]
        if video_rotary_emb is not None and audio_rotary_emb is not None:
            query, key = apply_rotary(query, *video_rotary_emb), apply_rotary(key, *audio_rotary_emb)
        output = dispatch_attention_fn(
            query.reshape(batch * frames, -1, *query.shape[2:]),  # [B T, R, H, D]
            key.flatten(0, 1),  # [B T, P A, H, D]
            value.flatten(0, 1),
            backend=self._attention_backend,
        )
        output = output.reshape(batch, -1, attn.inner_dim).type_as(query)  # [B, S, H D]
        return attn.to_out[1](attn.to_out[0](output))


class AudioAttention(nn.Module, AttentionModuleMixin):
    """Projections of the audio cross-attention: queries from video, keys and values from audio, no normalisation."""

    _default_processor_cls = MultiTalkAudioAttnProcessor
    _available_processors = [MultiTalkAudioAttnProcessor]  # noqa: RUF012 (diffusers' own attribute)
    processor: Any
    to_kv: nn.Linear  # after fuse_projections

    def __init__(self, dim: int, heads: int, audio_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.inner_dim = dim
        self.use_bias = True
        self.is_cross_attention = True  # fuse_projections would join to_q with to_k and to_v otherwise
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(audio_dim, dim)
        self.to_v = nn.Linear(audio_dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(0.0)])
        self.processor = MultiTalkAudioAttnProcessor()

    def forward(
        self,
        hidden_states: torch.Tensor,
        audio_hidden_states: torch.Tensor,
        video_rotary_emb: Rotary | None = None,
        audio_rotary_emb: Rotary | None = None,
    ) -> torch.Tensor:
        """See `MultiTalkAudioAttnProcessor`."""
        return self.processor(self, hidden_states, audio_hidden_states, video_rotary_emb, audio_rotary_emb)
