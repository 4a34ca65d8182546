"""A new network tells people apart by where they are."""

from __future__ import annotations

import torch

from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, record_person_maps
from talkies.training.initialise import attend_nearby


def test_tokens_belong_to_the_person_whose_place_they_share() -> None:
    torch.manual_seed(0)
    model = MultiTalkTransformer3DModel(
        num_attention_heads=2, attention_head_dim=64, in_channels=8, out_channels=4, text_dim=16, freq_dim=16,
        ffn_dim=64, num_layers=2, image_dim=None, added_kv_proj_dim=None, audio_window=5, audio_blocks=1,
        audio_channels=4, audio_hidden_dim=16, audio_output_dim=16, audio_context_tokens=2,
    ).eval()  # fmt: skip
    attend_nearby(model, 4.0)
    masks = torch.zeros(1, 3, 12, 20)
    masks[0, 0, 2:, 1:9], masks[0, 1, 2:, 11:19] = 1, 1
    masks[0, 2] = 1 - masks[0, :2].sum(0)
    with torch.no_grad(), record_person_maps(model) as maps:
        model(
            torch.randn(1, 8, 3, 12, 20), torch.tensor([500.0]), torch.randn(1, 4, 16),
            audio_hidden_states=torch.randn(1, 2, 9, 5, 1, 4), person_masks=masks,
        )  # fmt: skip
    tokens = masks[0, :, ::2, ::2].flatten(1) > 0  # [3, 60]
    for person_map in maps:
        owner = person_map[0].argmax(0).unflatten(0, (3, 60))  # [frames, tokens]
        for person in (0, 1):
            assert (owner[:, tokens[person]] == person).float().mean() > 0.9
