"""A tiny network and its inputs, of the real class."""

from __future__ import annotations

from typing import Any

import torch

from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel


def tiny_transformer(num_layers: int = 3) -> MultiTalkTransformer3DModel:
    torch.manual_seed(0)
    return MultiTalkTransformer3DModel(
        num_attention_heads=2, attention_head_dim=32, in_channels=12, out_channels=4, text_dim=24, freq_dim=16,
        ffn_dim=96, num_layers=num_layers, image_dim=20, added_kv_proj_dim=64, audio_blocks=2, audio_channels=6,
        audio_hidden_dim=8, audio_output_dim=16, audio_context_tokens=3,
    ).eval()  # fmt: skip


def tiny_inputs(people: int = 2, timestep: float = 500.0, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(1, 3, 4, 4)
    masks[:, 0, :2, :2], masks[:, 1, 2:, :2], masks[:, 2, :, 2:] = 1, 1, 1
    return {
        "hidden_states": torch.randn(1, 12, 2, 4, 4, generator=generator),
        "timestep": torch.tensor([timestep]),
        "encoder_hidden_states": torch.randn(1, 7, 24, generator=generator),
        "encoder_hidden_states_image": torch.randn(1, 5, 20, generator=generator),
        "audio_hidden_states": torch.randn(1, 2, 5, 5, 2, 6, generator=generator)[:, :people],
        "person_masks": masks if people > 1 else None,
    }
