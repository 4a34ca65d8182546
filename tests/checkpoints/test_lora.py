"""LoRA files in the formats of lightx2v, FusionX, kohya and diffusers: the same change, every key accounted for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from talkies.checkpoints.lora import load_lora, read_lora
from talkies.checkpoints.multitalk import transformer_config
from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

pytest.importorskip("peft")

CONFIG: dict[str, Any] = {
    "model_type": "i2v", "dim": 32, "num_heads": 2, "ffn_dim": 48, "freq_dim": 16, "text_dim": 24, "in_dim": 36,
    "out_dim": 16, "num_layers": 2, "intermediate_dim": 4, "output_dim": 8, "context_tokens": 2,
}  # fmt: skip
RANK, ALPHA = 4, 2.0
LINEAR = {  # official module -> (out, in), per block
    **{f"self_attn.{x}": (32, 32) for x in "qkvo"},
    **{f"cross_attn.{x}": (32, 32) for x in ("q", "k", "v", "o", "k_img", "v_img")},
    "ffn.0": (48, 32), "ffn.2": (32, 48),
}  # fmt: skip
OURS = {"self_attn": "attn1", "cross_attn": "attn2", "q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0",
        "k_img": "add_k_proj", "v_img": "add_v_proj", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2"}  # fmt: skip


@pytest.fixture(scope="module")
def base() -> MultiTalkTransformer3DModel:
    torch.manual_seed(0)
    return MultiTalkTransformer3DModel(**transformer_config(CONFIG)).eval()


@pytest.fixture
def model(base: MultiTalkTransformer3DModel) -> MultiTalkTransformer3DModel:
    return copy.deepcopy(base)


def pairs(seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"blocks.{i}.{module}": (
            torch.randn(RANK, inside, generator=generator) / inside**0.5,
            torch.randn(out, RANK, generator=generator) / RANK**0.5,
        )
        for i in range(2) for module, (out, inside) in LINEAR.items()
    }  # fmt: skip


def our_name(official: str) -> str:
    head, block, rest = official.split(".", 2)
    if rest in OURS:
        return f"{head}.{block}.{OURS[rest]}"
    attention, part = rest.split(".")
    return f"{head}.{block}.{OURS[attention]}.{OURS[part]}"


def lightx2v() -> dict[str, torch.Tensor]:
    """With alpha and whole differences: biases, norms, modulation, and norms that are zero."""
    generator = torch.Generator().manual_seed(7)
    state: dict[str, torch.Tensor] = {}
    for name, (down, up) in pairs().items():
        state |= {
            f"diffusion_model.{name}.lora_down.weight": down, f"diffusion_model.{name}.lora_up.weight": up,
            f"diffusion_model.{name}.alpha": torch.tensor(ALPHA),
            f"diffusion_model.{name}.diff_b": torch.randn(up.shape[0], generator=generator),
        }  # fmt: skip
    for i in range(2):
        prefix = f"diffusion_model.blocks.{i}"
        state[f"{prefix}.diff_m"] = torch.randn(1, 6, 32, generator=generator)
        state[f"{prefix}.norm3.diff"] = torch.randn(32, generator=generator)
        state[f"{prefix}.norm3.diff_b"] = torch.zeros(32)
        state[f"{prefix}.cross_attn.norm_k_img.diff"] = torch.zeros(32)
    state["diffusion_model.head.diff_m"] = torch.randn(1, 2, 32, generator=generator)
    state["diffusion_model.img_emb.proj.0.diff"] = torch.randn(1280, generator=generator)
    state["diffusion_model.patch_embedding.diff"] = torch.randn(32, 36, 1, 2, 2, generator=generator)
    return state


def fusionx() -> dict[str, torch.Tensor]:
    state = {}
    for name, (down, up) in pairs().items():
        state[f"diffusion_model.{name}.lora_A.weight"] = down
        state[f"diffusion_model.{name}.lora_B.weight"] = up
    return state


def kohya() -> dict[str, torch.Tensor]:
    state = {}
    for name, (down, up) in pairs().items():
        flat = f"lora_unet_{name.replace('.', '_')}"
        state |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up,
                  f"{flat}.alpha": torch.tensor(float(RANK))}  # fmt: skip
    return state


def diffusers_style() -> dict[str, torch.Tensor]:
    state = {}
    for name, (down, up) in pairs().items():
        state[f"transformer.{our_name(name)}.lora_A.weight"] = down
        state[f"transformer.{our_name(name)}.lora_B.weight"] = up
    return state


FORMATS = {"fusionx": fusionx, "kohya": kohya, "diffusers": diffusers_style}


def run(model: MultiTalkTransformer3DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return model(
            torch.randn(1, 36, 2, 4, 4, generator=generator),
            torch.tensor([500.0]),
            torch.randn(1, 7, 24, generator=generator),
            torch.randn(1, 9, 1280, generator=generator),
            torch.randn(1, 1, 5, 5, 12, 768, generator=generator),
        ).sample


@pytest.mark.parametrize("form", FORMATS)
def test_fused_weights_are_the_formula(
    form: str, model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    audit = load_lora(model, FORMATS[form](), scale=0.5)
    assert len(audit.matched) == len(FORMATS[form]())
    assert not audit.unmatched and not audit.idle
    for name, (down, up) in pairs().items():
        weight = f"{our_name(name)}.weight"
        torch.testing.assert_close(model.state_dict()[weight], base.state_dict()[weight] + 0.5 * up @ down)


def test_lightx2v_with_all_its_differences(
    model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    state = lightx2v()
    audit = load_lora(model, state)
    assert set(audit.idle) == {k for k in state if k.endswith(("norm3.diff_b", "norm_k_img.diff"))}
    assert len(audit.matched) + len(audit.idle) == len(state)
    new, old = model.state_dict(), base.state_dict()
    for name, (down, up) in pairs().items():
        ours = our_name(name)
        expected = old[f"{ours}.weight"] + ALPHA / RANK * up @ down
        torch.testing.assert_close(new[f"{ours}.weight"], expected)
        bias = state[f"diffusion_model.{name}.diff_b"]
        torch.testing.assert_close(new[f"{ours}.bias"], old[f"{ours}.bias"] + bias)
    for ours, theirs in {
        "blocks.1.scale_shift_table": "blocks.1.diff_m", "scale_shift_table": "head.diff_m",
        "blocks.0.norm2.weight": "blocks.0.norm3.diff", "patch_embedding.weight": "patch_embedding.diff",
        "condition_embedder.image_embedder.norm1.weight": "img_emb.proj.0.diff",
    }.items():  # fmt: skip
        torch.testing.assert_close(new[ours], old[ours] + state[f"diffusion_model.{theirs}"])


@pytest.mark.parametrize("form", FORMATS)
def test_an_adapter_computes_what_fusing_computes(
    form: str, model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    plain = run(base)
    load_lora(model, FORMATS[form](), name="fast", scale=0.7, how="adapter")
    fused = copy.deepcopy(base)
    load_lora(fused, FORMATS[form](), scale=0.7)
    expected = run(fused)
    assert (expected - plain).abs().max() > 0.01 * plain.abs().max()
    torch.testing.assert_close(run(model), expected, rtol=1e-4, atol=1e-5)
    model.set_adapters(["fast"], [0.0])
    torch.testing.assert_close(run(model), plain, rtol=1e-5, atol=1e-6)
    model.set_adapters(["fast"], [0.7])
    model.fuse_lora()
    torch.testing.assert_close(run(model), expected, rtol=1e-4, atol=1e-5)
    model.unfuse_lora()
    model.unload_lora()
    assert model.state_dict().keys() == base.state_dict().keys()
    torch.testing.assert_close(run(model), plain, rtol=1e-4, atol=1e-5)


def test_an_adapter_carries_bias_differences(
    model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    state = {
        k: v for k, v in lightx2v().items() if k.split(".")[-1] in ("weight", "alpha", "diff_b") and "norm" not in k
    }
    del state["diffusion_model.blocks.0.ffn.2.diff_b"]
    load_lora(model, state, how="adapter")
    fused = copy.deepcopy(base)
    load_lora(fused, state)
    torch.testing.assert_close(run(model), run(fused), rtol=1e-4, atol=1e-5)


def test_an_adapter_refuses_what_it_cannot_carry(model: MultiTalkTransformer3DModel) -> None:
    with pytest.raises(InputError, match=r"blocks\.\{0-1\}\.norm2\.weight.*fuse"):
        load_lora(model, lightx2v(), how="adapter")


def test_a_lora_for_the_joined_audio_weights(
    model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    """In the authors' naming key and value are one weight; its LoRA is cut like the weight."""
    down, up = torch.randn(RANK, 8), torch.randn(64, RANK)
    name = "diffusion_model.blocks.1.audio_cross_attn.kv_linear"
    load_lora(model, {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up})
    for part, rows in (("to_k", slice(0, 32)), ("to_v", slice(32, 64))):
        key = f"blocks.1.audio_attn.{part}.weight"
        torch.testing.assert_close(model.state_dict()[key], base.state_dict()[key] + up[rows] @ down)


def test_unmatched_keys_are_named_and_nothing_is_changed(
    model: MultiTalkTransformer3DModel, base: MultiTalkTransformer3DModel
) -> None:
    state = fusionx() | {
        "diffusion_model.blocks.7.self_attn.q.lora_A.weight": torch.zeros(RANK, 32),
        "diffusion_model.blocks.7.self_attn.q.lora_B.weight": torch.zeros(32, RANK),
        "diffusion_model.blocks.0.self_attn.q.dora_scale": torch.ones(32),
        "lora_te_text_model.lora_down.weight": torch.ones(4, 4),
    }
    with pytest.raises(InputError, match=r"4 unmatched.*blocks\.0\.self_attn\.q\.dora_scale.*blocks\.7.*lora_te"):
        load_lora(model, state)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), base.parameters(), strict=True))
    audit = load_lora(model, state, allow_unmatched=True)
    assert len(audit.unmatched) == 4
    assert len(audit.matched) == len(fusionx())


def test_half_a_pair_is_unmatched(model: MultiTalkTransformer3DModel) -> None:
    state = fusionx()
    del state["diffusion_model.blocks.0.ffn.0.lora_B.weight"]
    assert read_lora(model, state).audit.unmatched == ("diffusion_model.blocks.0.ffn.0.lora_A.weight",)


def test_a_lora_of_another_size_is_refused(model: MultiTalkTransformer3DModel) -> None:
    name = "diffusion_model.blocks.0.self_attn.q"
    state = {f"{name}.lora_A.weight": torch.zeros(RANK, 64), f"{name}.lora_B.weight": torch.zeros(64, RANK)}
    with pytest.raises(InputError, match="another size"):
        load_lora(model, state)


def test_a_lora_of_another_network_is_refused(model: MultiTalkTransformer3DModel) -> None:
    with pytest.raises(InputError, match="No key of the LoRA fits"):
        load_lora(model, {"unet.down_blocks.0.lora_A.weight": torch.zeros(1, 1)}, allow_unmatched=True)


def test_from_a_file_and_never_from_a_pickle(tmp_path: Path, model: MultiTalkTransformer3DModel) -> None:
    save_file(fusionx(), tmp_path / "fusionx.safetensors")
    assert not load_lora(model, tmp_path / "fusionx.safetensors").unmatched
    (tmp_path / "lora.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickle"):
        load_lora(model, tmp_path / "lora.pt")


def test_fusing_keeps_the_precision_of_the_weights(model: MultiTalkTransformer3DModel) -> None:
    model.to(torch.bfloat16)
    load_lora(model, fusionx())
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
