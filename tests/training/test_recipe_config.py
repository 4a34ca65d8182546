"""Recipes: what they refuse, and where they say the fault is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.runtime.machine import computes_bf16
from talkies.training.config import MachineSection, Ramp, load_recipe, parse_recipe
from training_cases import recipe_values

ROOT = Path(__file__).parents[2]
RECIPES = [
    *sorted((ROOT / "src/talkies/training/recipes").glob("transformer*.yaml")),
    *(ROOT / "runs/recipes" / name for name in ("transformer.yaml", "ablation.yaml")),
]


def test_a_small_recipe_fills_in_the_rest() -> None:
    recipe = parse_recipe(recipe_values(Path("cache")), "test")
    assert recipe.train == "all" and recipe.objective.velocity_share.at(0.5) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": {}}, "optimiser: Extra inputs"),
        ({"limits": {}}, "limits: give `steps`, `hours` or both"),
        ({"model": {}}, "model: give `path`"),
        ({"train": "audio"}, "needs `model.path`"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr"),
        ({"data": {"train": ["c"], "batch_size": 3}, "machine": {"processes": 2}}, "multiple of `machine.processes`"),
        ({"condition": {"drop_text_and_audio": 0.7, "image_to_video": 0.7}}, "together exceed 1"),
        ({"objective": {"timesteps": {"minimum": 0.9, "maximum": 0.5}}}, "must be below"),
        ({"machine": {"parallel": "shard"}, "optimizer": {"name": "muon"}}, "whole matrices"),
    ],
)
def test_faults_are_named_with_their_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_recipe(recipe_values(Path("cache")) | change, "recipe.yaml")
    assert message in str(caught.value) and "recipe.yaml" in str(caught.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    for text in ("a: [", "- 1", "!!python/object/apply:os.getcwd []"):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=r"recipe\.yaml"):
            load_recipe(path)


def test_overrides(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_values(Path("cache"))))
    recipe = load_recipe(path, ("limits.steps=9", "objective.timesteps.shift=7", "data.validation=[a, b]"))
    assert (recipe.limits.steps, recipe.objective.timesteps.shift) == (9, 7.0)
    assert recipe.data.validation == (Path("a"), Path("b"))
    for wrong in ("limits.steps", "name.x=1", "limits.steps=["):
        with pytest.raises(InputError, match="override"):
            load_recipe(path, (wrong,))


@pytest.mark.parametrize("able", [True, False])
def test_bf16_is_for_machines_that_compute_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able})
    assert computes_bf16("cpu") is able and computes_bf16("cuda")
    assert MachineSection(device="cpu").bf16 is able
    assert MachineSection(device="cpu", precision="bf16").bf16 and not MachineSection(precision="fp32").bf16


@given(st.floats(0, 1), st.floats(0, 1), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted), st.floats(0, 1))
def test_ramps_stay_between_their_ends(start: float, end: float, span: list[float], progress: float) -> None:
    ramp = Ramp(start=start, end=end, begin=span[0], finish=span[1])
    assert min(start, end) - 1e-9 <= ramp.at(progress) <= max(start, end) + 1e-9


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_shipped_recipes_are_valid(path: Path) -> None:
    load_recipe(path)
