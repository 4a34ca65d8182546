"""The authors' weights into our model and back: the 14B model by name and shape, the golden model by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from talkies.checkpoints import load_official, to_official
from talkies.checkpoints.multitalk import infer_official_config, official_config, transformer_config
from talkies.domain.errors import InputError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden files at {GOLDEN}")


@pytest.fixture(scope="module")
def keys_14b() -> dict[str, Any]:
    return json.loads((GOLDEN / "keys_14b.json").read_text())


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    path = GOLDEN / "transformer_weights.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    return load_file(path), config


def meta_state(keys: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {n: torch.empty(s, device="meta") for n, s in {**keys["base"], **keys["multitalk"]}.items()}


@needs_golden
def test_all_names_and_shapes_of_the_14b_model_convert_both_ways(keys_14b: dict[str, Any]) -> None:
    state = meta_state(keys_14b)
    assert len(state) == 1633
    model = load_official(state, keys_14b["config"])
    assert sum(p.numel() for p in model.parameters()) == keys_14b["counts"]["all_params"]
    assert {p.device.type for p in model.parameters()} == {"meta"}
    back = to_official(model)
    assert {n: tuple(t.shape) for n, t in back.items()} == {n: tuple(t.shape) for n, t in state.items()}


@needs_golden
def test_settings_of_the_14b_model_are_read_off_its_shapes(keys_14b: dict[str, Any]) -> None:
    inferred = infer_official_config({**keys_14b["base"], **keys_14b["multitalk"]})
    assert transformer_config(inferred) == transformer_config(keys_14b["config"])


@needs_golden
def test_golden_weights_survive_the_round_trip(golden: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
    state, config = golden
    model = load_official(state, config)
    assert not model.training
    back = to_official(model)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    q = "blocks.1.attn1.to_q.weight"
    assert model.state_dict()[q].data_ptr() == state["blocks.1.self_attn.q.weight"].data_ptr()
    assert load_official({f"model.diffusion_model.{n}": t for n, t in state.items()}, config) is not None


@needs_golden
def test_golden_forward(golden: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
    """The converted model computes what the authors' program computes: two people, fp32."""
    state, config = golden
    model = load_official(state, config, dtype=torch.float32)
    g = load_file(GOLDEN / "transformer_2p.safetensors")
    text = torch.zeros(1, config["text_len"], config["text_dim"])
    text[0, : g["in.context"].shape[0]] = g["in.context"]
    with torch.no_grad():
        out = model(
            torch.cat([g["in.x"][None], g["in.y"]], dim=1),
            g["in.t"],
            text,
            g["in.clip_fea"].float(),
            g["in.audio"].float()[None],
            g["in.ref_target_masks"][None],
        ).sample[0]
    assert (out - g["out"]).abs().max() <= 1e-4 * g["out"].abs().max()


@needs_golden
def test_lower_precision_keeps_norms_and_modulation_in_float32(
    golden: tuple[dict[str, torch.Tensor], dict[str, Any]],
) -> None:
    model = load_official(*golden, dtype=torch.bfloat16)
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    assert dtypes["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert dtypes["blocks.0.audio_attn.to_k.weight"] == torch.bfloat16
    for name in ("blocks.0.norm_audio.weight", "blocks.0.norm2.weight", "blocks.0.scale_shift_table",
                 "condition_embedder.time_embedder.linear_1.weight"):  # fmt: skip
        assert dtypes[name] == torch.float32


@needs_golden
def test_problems_are_named(golden: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
    state, config = golden
    base_only = {n: t for n, t in state.items() if "audio" not in n and "norm_x" not in n}
    with pytest.raises(InputError, match=r"missing: audio_proj\.norm\.bias.*blocks\.\{0-1\}\.audio_cross_attn"):
        load_official(base_only, config)
    with pytest.raises(InputError, match=r"1 unknown: blocks\.0\.self_attn\.q\.scale_weight"):
        load_official({**state, "blocks.0.self_attn.q.scale_weight": torch.ones(1)}, config)
    with pytest.raises(InputError, match=r"proj_out\.weight is \[64, 128\], expected \[32, 128\]"):
        load_official(state, {**config, "out_dim": 8})
    with pytest.raises(InputError, match=r"Unknown settings.*colour"):
        load_official(state, {**config, "colour": 1})
    with pytest.raises(InputError, match="window_size"):
        load_official(state, {**config, "window_size": [9, 9]})
    with pytest.raises(InputError, match="heads"):
        load_official(state, {**config, "num_heads": 5})


@needs_golden
def test_settings_go_both_ways(golden: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
    state, config = golden
    model = load_official(state, config)
    assert transformer_config(official_config(model.config)) == transformer_config(config)
    inferred = infer_official_config({n: tuple(t.shape) for n, t in state.items()})
    assert transformer_config({**inferred, "num_heads": 4}) == transformer_config(config)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match=r"no patch_embedding\.weight"):
        infer_official_config({"conv_in.weight": (4, 4, 3, 3)})
