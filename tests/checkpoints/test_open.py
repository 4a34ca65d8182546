"""Every layout of a transformer opens to the same model; what is unsafe or incomplete is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from talkies.checkpoints import HubOptions, open_transformer, to_official
from talkies.checkpoints.multitalk import official_config, transformer_config
from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

CONFIG: dict[str, Any] = {
    "model_type": "i2v", "dim": 64, "num_heads": 2, "ffn_dim": 96, "freq_dim": 32, "text_dim": 32, "in_dim": 36,
    "out_dim": 16, "num_layers": 3, "intermediate_dim": 4, "output_dim": 32, "context_tokens": 2,
}  # fmt: skip
HEADS = {"num_heads": 2}  # leave no trace in the weights
OFFLINE = HubOptions(local_files_only=True)


@pytest.fixture(scope="module")
def model() -> MultiTalkTransformer3DModel:
    torch.manual_seed(0)
    return MultiTalkTransformer3DModel(**transformer_config(CONFIG)).eval()


@pytest.fixture(scope="module")
def official(model: MultiTalkTransformer3DModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in to_official(model).items()}


def is_audio(name: str) -> bool:
    return "audio" in name or "norm_x" in name


def write_official(folder: Path, weights: dict[str, torch.Tensor], index: bool, audio: bool = True) -> Path:
    """The authors' folder: two shards, multitalk.safetensors, Wan's own short config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    base = sorted(name for name in weights if not is_audio(name))
    half = len(base) // 2
    parts = {
        "diffusion_pytorch_model-00001-of-00002.safetensors": base[:half],
        "diffusion_pytorch_model-00002-of-00002.safetensors": base[half:],
    }
    if audio:
        parts["multitalk.safetensors"] = [name for name in weights if is_audio(name)]
    for file, names in parts.items():
        save_file({name: weights[name].contiguous() for name in names}, folder / file)
    if index:
        weight_map = {name: file for file, names in parts.items() for name in names}
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    short = {name: CONFIG[name] for name in ("model_type", "dim", "num_heads", "ffn_dim", "num_layers", "freq_dim")}
    (folder / "config.json").write_text(json.dumps({"_class_name": "WanModel", "text_len": 512, **short}))
    return folder


def assert_same(opened: MultiTalkTransformer3DModel, model: MultiTalkTransformer3DModel) -> None:
    state, expected = opened.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    mine, theirs = official_config(opened.config), official_config(model.config)
    assert mine == theirs
    assert not opened.training


@pytest.mark.parametrize("index", [True, False])
def test_the_authors_folder(
    tmp_path: Path, model: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor], index: bool
) -> None:
    assert_same(open_transformer(write_official(tmp_path, official, index)), model)


def test_the_authors_folder_with_the_multitalk_file_elsewhere(
    tmp_path: Path, model: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor]
) -> None:
    folder = write_official(tmp_path / "both", official, index=True)
    elsewhere = tmp_path / "multitalk"
    elsewhere.mkdir()
    (folder / "multitalk.safetensors").rename(elsewhere / "multitalk.safetensors")
    assert_same(open_transformer(folder, multitalk=elsewhere), model)
    assert_same(open_transformer(folder, multitalk=elsewhere / "multitalk.safetensors"), model)
    with pytest.raises(InputError, match="plain Wan"):
        open_transformer(folder)


def test_one_file_with_everything(
    tmp_path: Path, model: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor]
) -> None:
    save_file({f"model.diffusion_model.{n}": t for n, t in official.items()}, tmp_path / "all.safetensors")
    assert_same(open_transformer(tmp_path / "all.safetensors", config=HEADS), model)


@pytest.mark.parametrize("layout", ["model", "pipeline"])
def test_a_diffusers_folder_of_wan_and_the_multitalk_file(
    tmp_path: Path, model: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor], layout: str
) -> None:
    base = WanTransformer3DModel.from_config(model.config)
    base.load_state_dict({n: t for n, t in model.state_dict().items() if "audio" not in n})
    folder = tmp_path / "transformer" if layout == "pipeline" else tmp_path
    base.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    with pytest.raises(InputError, match="plain Wan"):
        open_transformer(tmp_path)
    save_file({n: t for n, t in official.items() if is_audio(n)}, tmp_path / "multitalk.safetensors")
    assert_same(open_transformer(tmp_path), model)


@pytest.mark.parametrize("layout", ["model", "pipeline"])
def test_a_diffusers_folder_of_ours(tmp_path: Path, model: MultiTalkTransformer3DModel, layout: str) -> None:
    model.save_pretrained(tmp_path / "transformer" if layout == "pipeline" else tmp_path, max_shard_size="200KB")
    assert_same(open_transformer(tmp_path), model)


def test_a_hub_id_in_the_local_cache(
    tmp_path: Path, model: MultiTalkTransformer3DModel, official: dict[str, torch.Tensor]
) -> None:
    repository = tmp_path / "models--someone--wan-multitalk"
    write_official(repository / "snapshots" / "abc", official, index=False)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    hub = HubOptions(cache_dir=tmp_path, local_files_only=True)
    assert_same(open_transformer("someone/wan-multitalk", hub=hub), model)
    with pytest.raises(InputError, match=r"someone/else is no local path.*hf auth login"):
        open_transformer("someone/else", hub=hub)


def test_weights_stay_mapped_to_their_file(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    """No copy is made: the parameters lie in the mapping of the file, halves of joined tensors too."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("memory maps are listed on Linux only")
    opened = open_transformer(write_official(tmp_path, official, index=False))
    ranges = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in maps.read_text().splitlines() if str(tmp_path) in line
    ]  # fmt: skip
    for name, parameter in opened.named_parameters():
        assert any(low <= parameter.data_ptr() < high for low, high in ranges), name


def test_dtype(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    opened = open_transformer(write_official(tmp_path, official, index=False), dtype=torch.bfloat16)
    assert opened.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert opened.blocks[0].norm_audio.weight.dtype == torch.float32
    stored = {n: t.to(torch.float8_e4m3fn) for n, t in official.items()}
    save_file(stored, tmp_path / "fp8.safetensors")
    with pytest.raises(InputError, match="8 bits"):
        open_transformer(tmp_path / "fp8.safetensors", config=HEADS)
    assert open_transformer(tmp_path / "fp8.safetensors", config=HEADS, dtype=torch.float32) is not None


def test_a_missing_shard_is_named(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    for index in (True, False):
        folder = write_official(tmp_path / str(index), official, index)
        (folder / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
        with pytest.raises(InputError, match="lacks diffusion_pytorch_model-00002-of-00002"):
            open_transformer(folder)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    folder = write_official(tmp_path / "in", official, index=False)
    save_file(official, tmp_path / "out.safetensors")
    index = {"weight_map": {"head.head.weight": "../out.safetensors"}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="outside its folder"):
        open_transformer(folder)


@pytest.mark.parametrize("name", ["model.pth", "model.bin", "model.pt", "model.ckpt"])
def test_pickle_files_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"pickle.*safetensors\.torch\.save_file"):
        open_transformer(tmp_path / name)


def test_a_folder_of_pickle_files_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model-00001-of-00002.bin").write_bytes(b"\x80\x04.")
    (tmp_path / "config.json").write_text('{"_class_name": "WanModel"}')
    with pytest.raises(InputError, match="pickle"):
        open_transformer(tmp_path)


def test_what_is_not_there_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        open_transformer(tmp_path / "nowhere", hub=OFFLINE)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(InputError, match="UNet2DConditionModel"):
        open_transformer(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        open_transformer(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="damaged"):
        open_transformer(tmp_path / "broken.safetensors")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="neither"):
        open_transformer(tmp_path / "notes.txt")


def test_a_folder_of_ours_with_an_unknown_setting(tmp_path: Path, model: MultiTalkTransformer3DModel) -> None:
    model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "turbo": True}))
    with pytest.raises(InputError, match="turbo"):
        open_transformer(tmp_path)
