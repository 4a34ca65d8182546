"""GGUF: a file as Wan's quantised releases are named and typed, opened with the weights still quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from talkies.checkpoints import load_official, open_transformer, to_official
from talkies.checkpoints.multitalk import transformer_config
from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

gguf = pytest.importorskip("gguf")

CONFIG: dict[str, Any] = {
    "model_type": "i2v", "dim": 64, "num_heads": 2, "ffn_dim": 96, "freq_dim": 32, "text_dim": 32, "in_dim": 36,
    "out_dim": 16, "num_layers": 2, "intermediate_dim": 4, "output_dim": 32, "context_tokens": 2,
}  # fmt: skip
HEADS = {"num_heads": 2}


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {n: t.clone() for n, t in to_official(MultiTalkTransformer3DModel(**transformer_config(CONFIG))).items()}


def write_gguf(path: Path, weights: dict[str, torch.Tensor], flat_patch: bool = False) -> Path:
    """Linear weights in Q8_0, the text layers in BF16, the rest in F32 or F16, as the converters of Wan do it."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in weights.items():
        data = tensor.numpy()
        if name == "patch_embedding.weight":
            if flat_patch:
                writer.add_array(f"comfy.gguf.orig_shape.{name}", list(data.shape))
                data = data.reshape(data.shape[0], -1)
            writer.add_tensor(name, data.astype(np.float16))
        elif name.endswith("weight") and data.ndim == 2:
            kind = gguf.GGMLQuantizationType.BF16 if name.startswith("text_") else gguf.GGMLQuantizationType.Q8_0
            if data.shape[1] % 32:
                kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def run(model: MultiTalkTransformer3DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(1, 3, 4, 4)
    masks[:, 0, :, :2], masks[:, 1, :2, 2:], masks[:, 2, 2:, 2:] = 1, 1, 1
    with torch.no_grad():
        return model(
            torch.randn(1, 36, 2, 4, 4, generator=generator),
            torch.tensor([500.0]),
            torch.randn(1, 7, 32, generator=generator),
            torch.randn(1, 9, 1280, generator=generator),
            torch.randn(1, 2, 5, 5, 12, 768, generator=generator),
            masks,
        ).sample


@pytest.mark.parametrize("flat_patch", [True, False])
def test_base_in_gguf_with_the_multitalk_file(
    tmp_path: Path, official: dict[str, torch.Tensor], flat_patch: bool
) -> None:
    audio = {n: t for n, t in official.items() if "audio" in n or "norm_x" in n}
    base = write_gguf(
        tmp_path / "wan2.1-i2v-Q8_0.gguf", {n: t for n, t in official.items() if n not in audio}, flat_patch
    )
    with pytest.raises(InputError, match="plain Wan"):
        open_transformer(base)
    save_file(audio, tmp_path / "multitalk.safetensors")
    opened = open_transformer(base, tmp_path / "multitalk.safetensors", torch.float32, HEADS)
    check(opened, official)
    assert type(opened.blocks[1].audio_attn.to_k).__name__ == "Linear"


def test_everything_in_gguf_under_a_prefix(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    """Here the joined audio weights are quantised too, and split without being unpacked."""
    path = write_gguf(tmp_path / "all.gguf", {f"model.diffusion_model.{n}": t for n, t in official.items()})
    opened = open_transformer(path, dtype=torch.float32, config=HEADS)
    check(opened, official)
    assert type(opened.blocks[1].audio_attn.to_k).__name__ == "GGUFLinear"


def check(opened: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor]) -> None:
    """Quantised storage, and an output as near to the full-precision one as eight bits allow."""
    weight = opened.blocks[0].attn1.to_q.weight
    assert weight.dtype == torch.uint8
    assert not opened.training
    expected = run(load_official(official, CONFIG))
    assert (run(opened) - expected).abs().max() < 0.03 * expected.abs().max()


def test_problems_are_told(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    write_gguf(tmp_path / "few.gguf", {n: t for n, t in official.items() if n != "blocks.1.ffn.0.bias"})
    with pytest.raises(InputError, match=r"1 missing: blocks\.1\.ffn\.0\.bias"):
        open_transformer(tmp_path / "few.gguf", config=HEADS)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 64)
    with pytest.raises(InputError, match="damaged"):
        open_transformer(tmp_path / "broken.gguf")
    (tmp_path / "other.gguf").write_bytes(b"something else entirely")
    with pytest.raises(InputError, match="damaged"):
        open_transformer(tmp_path / "other.gguf")
