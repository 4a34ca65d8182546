"""What a run leaves on disk: checkpoints whole or absent, a log that fits, curves, the memory plan, the probe."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from talkies.domain.errors import InputError
from talkies.training import checkpoint as files
from talkies.training.batches import collate
from talkies.training.config import ObjectiveSection, parse_recipe
from talkies.training.memory import MemoryPlan, check_memory, outline, plan_memory
from talkies.training.parallelize import World
from talkies.training.report import RunLog, draw_curves, read_log
from talkies.training.shards import LatentCache
from talkies.training.system import build_system
from talkies.training.validation import lip_energy, probe_batches, run_probe
from training_cases import CONTEXT, make_sample, recipe_values

ALONE = World(0, 1, torch.device("cpu"))


def test_checkpoints_are_whole_and_the_oldest_go(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        files.save_checkpoint(tmp_path, step, {"weights": {"a": torch.full((2,), step)}}, {"step": step}, keep=2)
    (tmp_path / ".step-0000004.part").mkdir()  # a process killed while saving
    (tmp_path / "step-0000005").mkdir()  # without state
    found = files.list_checkpoints(tmp_path)
    assert [path.name for path in found] == ["step-0000002", "step-0000003"]
    assert files.load_state(found[-1]) == {"step": 3}
    assert files.load_part(found[-1], "weights")["a"].tolist() == [3, 3]
    (found[-1] / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read"):
        files.load_part(found[-1], "weights")


def test_the_log_forgets_what_a_killed_run_did_after_its_checkpoint(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    with RunLog(tmp_path, 0, console) as log:
        for step in range(1, 6):
            log.write("train", step, {"loss": 1.0 / step, "lr": 1e-3})
        log.note(5, "a remark")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut short
    with RunLog(tmp_path, 3, console) as log:
        log.write("train", 4, {"loss": 9.0, "lr": 1e-3})
        log.write("validation", 4, {"right@0.999": 0.5, "shuffled@0.7": 0.9})
    assert [(record["kind"], record["step"]) for record in read_log(tmp_path / "log.jsonl")] == [
        ("train", 1), ("train", 2), ("train", 3), ("train", 4), ("validation", 4),
    ]  # fmt: skip
    path = draw_curves(tmp_path)
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")


def test_the_memory_plan_counts_what_is_there() -> None:
    recipe = parse_recipe(recipe_values(Path("cache")), "test")
    system, outlined = build_system(recipe), outline(recipe)
    batch = collate([make_sample(n) for n in range(4)], CONTEXT, 5, None)
    plan = plan_memory(recipe, outlined, batch, ALONE)
    values = sum(parameter.numel() for parameter in system.parameters())
    assert (plan.trained, plan.frozen, plan.parameters, plan.optimizer) == (values, 0, 4 * values, 8 * values)
    double = plan_memory(recipe, outlined, collate([make_sample(n) for n in range(8)], CONTEXT, 5, None), ALONE)
    assert 1.7 < double.activations / plan.activations < 2.2
    assert plan.flops == pytest.approx(double.flops, rel=0.02)
    half = plan_memory(recipe, outlined, batch, World(0, 2, torch.device("cpu"), sharded=True))
    assert half.optimizer == plan.optimizer // 2
    model = recipe.model.model_copy(update={"gradient_checkpointing": True})
    saving = plan_memory(recipe.model_copy(update={"model": model}), outlined, batch, ALONE)
    assert saving.activations < plan.activations


def test_the_estimate_of_activations_is_what_autograd_keeps() -> None:
    recipe = parse_recipe(recipe_values(Path("cache")), "test")
    system = build_system(recipe)
    batch = collate([make_sample(n, people=1) for n in range(4)], CONTEXT, 5, None)
    kept: dict[int, torch.Tensor] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in system.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = system(batch)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert output.requires_grad
    assert plan_memory(recipe, outline(recipe), batch, ALONE).activations == pytest.approx(measured, rel=0.1)


def test_a_run_that_cannot_fit_is_refused() -> None:
    huge = MemoryPlan(1, 0, 2**50, 0, 0, 0, 0, 0)
    with pytest.raises(InputError, match="needs about"):
        check_memory(huge, ALONE)


def test_the_probe_tells_a_listener_from_a_deaf_model(validation_root: Path) -> None:
    (batch,) = probe_batches(LatentCache((validation_root,)), window=5, latent_frames=None, samples=4, size=8)

    class Listener(torch.nn.Module):
        """Knows the truth for the audio that belongs to it, and only then."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, given: object, audio: torch.Tensor) -> torch.Tensor:
            same = (audio == batch.audio).flatten(1).all(1)
            still = batch.latents[:, :, 1:].mean(2, keepdim=True).expand_as(batch.latents)
            return torch.where(same.view(-1, 1, 1, 1, 1), batch.latents, still)

    values = run_probe(Listener(), [batch], ObjectiveSection(prediction="sample"), False, 0)  # type: ignore[arg-type]
    assert values["right@0.999"] == 0
    assert values["shuffled@0.999"] == pytest.approx(1) and values["exchanged@0.7"] == pytest.approx(1)


def test_lip_energy_counts_lips_of_new_frames(validation_root: Path) -> None:
    batch = collate([make_sample(0)], CONTEXT, 5, None)
    error = torch.zeros_like(batch.latents)
    error[:, :, 0] = 1  # given
    error[:, :, :, 3] = 1  # no lips there
    assert lip_energy(error, batch) == 0
    error[:, 0, 1, 1, 0] = 2
    assert lip_energy(error, batch) == 4 * 4
    flat = replace(batch, weight=torch.ones_like(batch.weight))
    assert lip_energy(error, flat) > 0
