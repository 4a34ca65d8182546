"""What diffusers gives every model, on a tiny network of the real class with two people."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import TorchAoConfig

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.apply import prepare_transformer
from talkies.runtime.profile import RuntimeProfile


@torch.no_grad()
def run(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> torch.Tensor:
    return model(**inputs).sample


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_save_and_load(tmp_path: Path, model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    loaded = MultiTalkTransformer3DModel.from_pretrained(tmp_path)
    assert loaded.config.num_layers == 3
    settings = [{k: v for k, v in json.loads(m.to_json_string()).items() if k[0] != "_"} for m in (loaded, model)]
    assert settings[0] == settings[1]
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    assert relative(run(loaded, inputs), run(model, inputs)) < 1e-5  # mapped weights are aligned otherwise


def test_lora_add_save_load_fuse(tmp_path: Path, model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    """peft through diffusers' own methods; the key formats of published files are tested with ``load_lora``."""
    peft = pytest.importorskip("peft")
    plain, other = run(model, inputs), copy.deepcopy(model)
    model.add_adapter(
        peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)
    )
    adapted = run(model, inputs)
    assert relative(adapted, plain) > 1e-3
    assert any("audio_attn" in name for name, p in model.named_parameters() if "lora" in name)
    model.save_lora_adapter(tmp_path)
    other.load_lora_adapter(tmp_path, prefix=None, weight_name="pytorch_lora_weights.safetensors")
    assert relative(run(other, inputs), adapted) < 1e-5
    other.fuse_lora()
    assert relative(run(other, inputs), adapted) < 1e-4
    other.unfuse_lora()
    other.unload_lora()
    assert relative(run(other, inputs), plain) < 1e-4


@pytest.mark.parametrize("backend", ["native", "_native_math", "_native_flash"])
def test_attention_backends(backend: str, model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    prepare_transformer(model, RuntimeProfile(attention=backend))
    assert relative(run(model, inputs), plain) < 1e-5


def test_a_missing_attention_backend_is_told(model: MultiTalkTransformer3DModel) -> None:
    for name in ("sage", "no_such_backend"):
        with pytest.raises(InputError, match=rf"'{name}' cannot be used"):
            prepare_transformer(model, RuntimeProfile(attention=name))


def test_fp8_storage(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    prepare_transformer(model, RuntimeProfile(quantization="fp8"))
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    assert dtypes["blocks.0.ffn.net.2.weight"] == dtypes["blocks.0.audio_attn.to_k.weight"] == torch.float8_e4m3fn
    assert dtypes["blocks.0.norm_audio.weight"] == dtypes["patch_embedding.weight"] == torch.float32
    assert relative(run(model, inputs), plain) < 0.1


def test_int8_storage(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    pytest.importorskip("torchao")
    plain = run(model, inputs)
    prepare_transformer(model, RuntimeProfile(quantization="int8"))
    assert type(model.blocks[0].audio_attn.to_q.weight).__name__ == "Int8Tensor"
    assert type(model.condition_embedder.time_proj.weight) is torch.nn.Parameter
    assert 0 < relative(run(model, inputs), plain) < 0.03


def test_int8_while_loading(tmp_path: Path, model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    """diffusers' way: quantised as it is read."""
    quantization = pytest.importorskip("torchao.quantization")
    model.save_pretrained(tmp_path)
    loaded = MultiTalkTransformer3DModel.from_pretrained(
        tmp_path, quantization_config=TorchAoConfig(quantization.Int8WeightOnlyConfig()), torch_dtype=torch.float32
    )
    assert 0 < relative(run(loaded, inputs), run(model, inputs)) < 0.03


def test_bfloat16_keeps_norms_and_modulation(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    prepare_transformer(model, RuntimeProfile(dtype="bfloat16"))
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert model.blocks[0].norm_audio.weight.dtype == torch.float32
    half = {k: v.bfloat16() if k.endswith("states") or k.endswith("image") else v for k, v in inputs.items()}
    result = run(model, half)
    assert result.dtype == torch.bfloat16
    assert relative(result.float(), plain) < 0.05


@pytest.mark.parametrize("offload_type", ["block_level", "leaf_level"])
def test_group_offload(offload_type: str, model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    model.enable_group_offload(
        torch.device("cpu"),
        offload_type=offload_type,
        num_blocks_per_group=1 if offload_type == "block_level" else None,
    )
    assert relative(run(model, inputs), plain) < 1e-5


def test_fused_projections(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    model.fuse_qkv_projections()
    assert relative(run(model, inputs), plain) < 1e-5


def test_gradient_checkpointing(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    gradients = []
    for checkpointing in (False, True):
        trained = copy.deepcopy(model).train()
        if checkpointing:
            trained.enable_gradient_checkpointing()
        trained(**inputs).sample.square().mean().backward()
        gradients.append({name: p.grad for name, p in trained.named_parameters()})
    assert all(grad is not None and torch.isfinite(grad).all() for grad in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.slow  # 124 s on two busy cores, 2026-11-22
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiled_blocks(model: MultiTalkTransformer3DModel, inputs: dict[str, Any]) -> None:
    plain = run(model, inputs)
    prepare_transformer(model, RuntimeProfile(compile=True))
    assert relative(run(model, inputs), plain) < 1e-5
