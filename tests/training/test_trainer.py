"""The loop: it can be killed anywhere and goes on with the same losses; processes add up to one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from talkies.domain.errors import InputError, NumericalError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.training.checkpoint import list_checkpoints
from talkies.training.config import parse_recipe
from talkies.training.launch import free_port
from talkies.training.parallelize import World
from talkies.training.report import read_log
from talkies.training.shards import CacheWriter
from talkies.training.trainer import Trainer
from training_cases import make_sample, recipe_values, start_training, text_encoder_config, write_cache

ALONE = World(0, 1, torch.device("cpu"))
COMMAND = [sys.executable, "-m", "talkies.cli.main", "train"]


def train(values: dict[str, Any], folder: Path) -> Trainer:
    trainer = Trainer(parse_recipe(values, "test"), folder, ALONE, Console(quiet=True))
    trainer.run()
    return trainer


def losses(folder: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in read_log(folder / "log.jsonl") if record["kind"] == "train"}


def write_recipe(values: dict[str, Any], path: Path) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_resume_repeats_the_same_losses(cache_root: Path, tmp_path: Path, optimizer: str) -> None:
    values = recipe_values(cache_root) | {"optimizer": {"name": optimizer}}
    values["data"]["accumulation"] = 2
    train(values, tmp_path / "whole")
    first = values | {"limits": {"steps": 6, "hours": 1e-9}}  # the clock stops it after one step
    train(first, tmp_path / "parts")
    assert set(losses(tmp_path / "parts")) == {1}
    train(values, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def wait_for_steps(process: BaseProcess, folder: Path, count: int) -> None:
    deadline = time.monotonic() + 200
    while len(losses(folder)) < count and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)


def test_a_killed_run_goes_on_with_the_same_losses(cache_root: Path, tmp_path: Path) -> None:
    endless = recipe_values(cache_root) | {"limits": {"steps": 100_000}, "schedule": {"name": "constant"}}
    saving = endless | {"every": endless["every"] | {"checkpoint": 1e-6}}  # after every step
    process = start_training(saving, tmp_path / "killed")
    wait_for_steps(process, tmp_path / "killed", 4)
    process.kill()
    process.join()
    saved = list_checkpoints(tmp_path / "killed" / "checkpoints")[-1]
    reached = int(saved.name.removeprefix("step-"))
    resumed = train(endless | {"limits": {"steps": reached + 2}}, tmp_path / "killed")
    straight = start_training(endless, tmp_path / "straight")
    wait_for_steps(straight, tmp_path / "straight", resumed.progress.step)
    straight.terminate()  # SIGTERM: saves and ends
    straight.join(60)
    assert straight.exitcode == 0
    ours, whole = losses(tmp_path / "killed"), losses(tmp_path / "straight")
    assert set(ours) == set(range(1, resumed.progress.step + 1))
    assert all(ours[step] == whole[step] for step in ours)
    (last,) = list_checkpoints(tmp_path / "straight" / "checkpoints")
    assert json.loads((last / "state.json").read_text())["progress"]["step"] == max(whole)


@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_processes_equal_one(cache_root: Path, tmp_path: Path, parallel: str) -> None:
    values = recipe_values(cache_root)
    train(values, tmp_path / "one")
    values["machine"] |= {"processes": 2, "parallel": parallel}
    parts = [{"steps": 6}]
    if parallel == "shard":  # stopped after a step, and gone on with
        parts.insert(0, {"steps": 6, "hours": 1e-9})
    for limits in parts:
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        places = [shared | {"RANK": str(rank)} for rank in range(2)]
        processes = [start_training(values | {"limits": limits}, tmp_path / "two", place) for place in places]
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    for step, value in one.items():
        assert two[step] == pytest.approx(value, rel=1e-5)
    file = "export/transformer/diffusion_pytorch_model.safetensors"
    weights = [load_file(tmp_path / run / file) for run in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name].float(), value.float(), atol=1e-4, rtol=1e-2)


@pytest.mark.slow
def test_text_encoder_and_muon_in_two_processes_by_the_clock(tmp_path: Path) -> None:
    values = recipe_values(write_cache(tmp_path / "cache", [2] * 6 + [1] * 4 + [3] * 4, ids=True))
    values |= {
        "text_encoder": {"config": text_encoder_config()},
        "optimizer": {"name": "muon"},
        "limits": {"hours": 1e-3},
        "machine": {"device": "cpu", "precision": "bf16", "processes": 2},
    }
    values["every"]["checkpoint"] = 1e-6
    recipe = write_recipe(values, tmp_path / "recipe.yaml")
    command = [*COMMAND, str(recipe), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run")
    from transformers import UMT5EncoderModel

    encoder = UMT5EncoderModel.from_pretrained(tmp_path / "run/export/text_encoder")
    assert encoder.config.vocab_size == 20


def test_export_opens_as_the_model_and_probe_is_logged(cache_root: Path, validation_root: Path, tmp_path: Path) -> None:
    values = recipe_values(cache_root, validation_root)
    trainer = train(values, tmp_path)
    model = MultiTalkTransformer3DModel.from_pretrained(tmp_path / "export" / "transformer")
    assert trainer.ema is not None
    average = trainer.ema.averages["transformer.proj_out.weight"]
    torch.testing.assert_close(model.proj_out.weight.float(), average, atol=1e-2, rtol=1e-2)
    (probe,) = [record for record in read_log(tmp_path / "log.jsonl") if record["kind"] == "validation"]
    assert {"right@0.999", "shuffled@0.999", "exchanged@0.7"} <= set(probe)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_hooks_see_the_averages(cache_root: Path, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def hook(system: torch.nn.Module, step: int, folder: Path) -> dict[str, float]:
        assert step == 6 and folder == tmp_path
        seen.append(system.get_parameter("transformer.proj_out.weight").detach().clone())
        return {"opening_correlation": 0.5}

    recipe = parse_recipe(recipe_values(cache_root), "test")
    trainer = Trainer(recipe, tmp_path, ALONE, Console(quiet=True), hooks=[hook])
    trainer.run()
    assert trainer.ema is not None
    assert torch.equal(seen[0], trainer.ema.averages["transformer.proj_out.weight"])
    assert not torch.equal(seen[0], trainer.parameters["transformer.proj_out.weight"])
    assert read_log(tmp_path / "log.jsonl")[-1]["opening_correlation"] == 0.5


def test_it_learns(cache_root: Path, tmp_path: Path) -> None:
    values = recipe_values(cache_root)
    values["limits"] = {"steps": 60}
    values["optimizer"] = {"lr": 5e-3}
    found = losses(train(values, tmp_path).folder)
    assert sum(found[step] for step in range(51, 61)) < 0.8 * sum(found[step] for step in range(1, 11))


@pytest.mark.slow
def test_voices_are_bound_to_people(tmp_path: Path) -> None:
    root, unseen = write_cache(tmp_path / "a", [2] * 400, samples_per_shard=200), tmp_path / "b"
    values = recipe_values(root, write_cache(unseen, [2] * 24, seed=1))
    values["data"]["batch_size"] = 8
    values["model"]["config"] |= {
        "num_attention_heads": 4,
        "ffn_dim": 128,
        "audio_hidden_dim": 64,
        "audio_output_dim": 64,
    }
    values |= {
        "objective": {"prediction": "sample", "velocity_share": {"start": 0, "end": 0}},
        "limits": {"steps": 1000},
    }
    values |= {"optimizer": {"name": "muon", "lr": 2e-3}}
    train(values, tmp_path / "run")
    probe = [record for record in read_log(tmp_path / "run/log.jsonl") if record["kind"] == "validation"][-1]
    assert probe["right@0.999"] < 0.3
    assert probe["shuffled@0.999"] > 1 and probe["exchanged@0.999"] > 1


def test_audio_only_moves_audio_only(cache_root: Path, tmp_path: Path) -> None:
    base = train(recipe_values(cache_root), tmp_path / "base").folder / "export" / "transformer"
    values = recipe_values(cache_root) | {"train": "audio", "model": {"path": str(base)}}
    values["machine"]["precision"] = "bf16"
    before = load_file(base / "diffusion_pytorch_model.safetensors")
    train(values, tmp_path / "audio")
    after = load_file(tmp_path / "audio/export/transformer/diffusion_pytorch_model.safetensors")
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(
        any(part in name for part in ("audio_projector", "audio_attn", "norm_audio")) for name in moved
    )


def test_lora_is_saved_alone_and_loads_into_the_model(cache_root: Path, tmp_path: Path) -> None:
    base = train(recipe_values(cache_root), tmp_path / "base").folder / "export" / "transformer"
    values = recipe_values(cache_root) | {
        "train": "lora",
        "model": {"path": str(base)},
        "lora": {"rank": 2, "alpha": 4},
    }
    trainer = train(values, tmp_path / "lora")
    assert all("lora_" in name for name in trainer.parameters)
    model = MultiTalkTransformer3DModel.from_pretrained(base)
    model.load_lora_adapter(load_file(tmp_path / "lora/export/lora/pytorch_lora_weights.safetensors"))
    ours = dict(trainer.system.transformer.named_parameters())
    theirs = dict(model.named_parameters())
    name = "blocks.0.attn1.to_q.lora_A"
    assert any(name in key for key in theirs) and any(name in key for key in ours)


def test_nan_gradients_stop_the_run_and_keep_the_checkpoint(cache_root: Path, tmp_path: Path) -> None:
    values = recipe_values(cache_root)
    train(values, tmp_path)
    values["limits"] = {"steps": 40}
    trainer = Trainer(parse_recipe(values, "test"), tmp_path, ALONE, Console(quiet=True))
    trainer.source = Poisoned(trainer.source)  # type: ignore[assignment]
    with pytest.raises(NumericalError, match="not finite"):
        trainer.run()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step-0000006"]


class Poisoned:
    """Real samples, with a NaN in their audio."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.context, self.null_prompt, self.walk = source.context, source.null_prompt, source.walk

    def __getitem__(self, number: int) -> Any:
        sample = self._source[number]
        sample.latents.fill_(float("nan"))
        return sample


def test_a_growing_cache_is_taken_in_at_the_next_pass(tmp_path: Path) -> None:
    root = write_cache(tmp_path / "cache", [2] * 4)
    trainer = train(recipe_values(root), tmp_path / "run")
    assert trainer.progress.order.epoch == 6
    with CacheWriter(root, context=2, null_prompt=torch.zeros(4, 16)) as writer:
        for number in range(4, 8):
            writer.add(make_sample(number))
    values = recipe_values(root)
    values["limits"] = {"steps": 8}
    grown = train(values, tmp_path / "run")
    assert grown.progress.order.epoch == 7 and grown.progress.order.count == 8


def test_wrong_channels_and_wrong_checkpoints_are_refused(cache_root: Path, tmp_path: Path) -> None:
    values = recipe_values(cache_root)
    values["model"]["config"]["in_channels"] = 36
    with pytest.raises(InputError, match="takes 36 channels"):
        train(values, tmp_path / "a")
    train(recipe_values(cache_root), tmp_path / "b")
    values = recipe_values(cache_root)
    values["model"]["config"]["num_layers"] = 1
    with pytest.raises(InputError, match="other parameters"):
        train(values, tmp_path / "b")


def test_bad_recipes_end_with_code_2(tmp_path: Path) -> None:
    recipe = write_recipe({"name": "x", "data": {"train": []}}, tmp_path / "recipe.yaml")
    done = subprocess.run(
        [*COMMAND, str(recipe), "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "data.train" in done.stderr and "Traceback" not in done.stderr
