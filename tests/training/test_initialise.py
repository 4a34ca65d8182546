"""A new network tells people apart by where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import (
    MultiTalkTransformer3DModel,
    _position_features,
    record_person_maps,
)
from talkies.training.config import load_recipe, parse_recipe
from talkies.training.initialise import attend_nearby
from talkies.training.system import build_system, full_weights, save_model

SMALL = {
    "num_attention_heads": 2, "attention_head_dim": 64, "in_channels": 8, "out_channels": 4, "text_dim": 16,
    "freq_dim": 16, "ffn_dim": 64, "num_layers": 2, "image_dim": None, "added_kv_proj_dim": None, "audio_window": 5,
    "audio_blocks": 1, "audio_channels": 4, "audio_hidden_dim": 16, "audio_output_dim": 16, "audio_context_tokens": 2,
}  # fmt: skip


def test_tokens_belong_to_the_person_whose_place_they_share() -> None:
    torch.manual_seed(0)
    model = MultiTalkTransformer3DModel(**SMALL).eval()
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


def test_an_opened_network_may_be_given_new_parts(tmp_path: Path) -> None:
    """It computes what it computed, until they are trained; what does not fit is refused."""
    torch.manual_seed(0)
    known = MultiTalkTransformer3DModel(**SMALL)
    known.save_pretrained(tmp_path)

    def opened(changes: dict[str, object]) -> MultiTalkTransformer3DModel:
        model = {"path": str(tmp_path), "config": changes}
        return build_system(
            parse_recipe({"name": "x", "data": {"train": ["none"]}, "model": model, "limits": {"steps": 1}}, "test")
        ).transformer

    changed = opened({"absolute_positions": True})
    arguments = (torch.randn(1, 8, 3, 4, 6), torch.tensor([500.0]), torch.randn(1, 4, 16))
    with torch.no_grad():
        assert torch.allclose(changed(*arguments).sample, known(*arguments).sample, atol=1e-5)
        changed.position_embedding.weight.normal_()
        assert not torch.allclose(changed(*arguments).sample, known(*arguments).sample, atol=1e-2)
    with pytest.raises(InputError, match=r"model\.config"):
        opened({"ffn_dim": 32})
    with pytest.raises(InputError, match="no place"):
        opened({"num_layers": 1})
    with pytest.raises(InputError, match="audio_injection is 'sum'"):
        opened({"audio_injection": "sum"})


def test_a_way_to_tell_voices_apart_travels_with_the_trained_network(tmp_path: Path) -> None:
    MultiTalkTransformer3DModel(**SMALL).save_pretrained(tmp_path / "base")
    values = {
        "name": "x",
        "train": "audio",
        "data": {"train": ["none"]},
        "model": {"path": str(tmp_path / "base")},
        "limits": {"steps": 1},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(values))
    changes = ("model.config.audio_injection=split", "model.config.person_label_stride=6")
    system = build_system(load_recipe(tmp_path / "recipe.yaml", changes))
    save_model(system, full_weights(system), tmp_path / "export")
    opened = MultiTalkTransformer3DModel.from_pretrained(tmp_path / "export" / "transformer")
    assert (opened.config.audio_injection, opened.config.person_label_stride) == ("split", 6)
    assert opened.blocks[0].person_labels.stride == 6


def test_positions_do_not_depend_on_the_frames_size() -> None:
    small, large = (_position_features((2, rows, rows + 2)) for rows in (2, 4))
    assert small.shape == (2 * 2 * 4, 10) and large.shape == (2 * 4 * 6, 10)
    assert (small[0, 0] < 0 < small[3, 0]) and (small[0, 5] < 0 < small[4, 5])
    assert torch.equal(small[:8], small[8:])
    assert large[:, [0, 5]].abs().max() < 1
