"""The latent cache: what is written comes back, whole shards only, and bad samples are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from talkies.domain.errors import InputError
from talkies.training.shards import CacheWriter, LatentCache
from training_cases import CONTEXT, make_sample, write_cache


def test_samples_come_back_unchanged(tmp_path: Path) -> None:
    cache = LatentCache((write_cache(tmp_path, [2, 1, 2, 2, 1, 2], samples_per_shard=4),))
    assert len(cache) == 6
    for number, people in enumerate([2, 1, 2, 2, 1, 2]):
        expected, found = make_sample(number, people), cache[number]
        assert found.id == expected.id
        assert found.tensors().keys() == expected.tensors().keys()
        for name, value in expected.tensors().items():
            assert torch.equal(found.tensors()[name], value)
            assert found.tensors()[name].dtype == value.dtype


def test_equal_prompts_are_stored_once(tmp_path: Path) -> None:
    write_cache(tmp_path, [2] * 6, samples_per_shard=6)  # three different prompts
    with safe_open(tmp_path / "shard-00000.safetensors", framework="pt") as file:
        assert sorted(name for name in file.keys() if name.startswith("prompt")) == [  # noqa: SIM118
            f"prompt{i}.prompt_embeds" for i in range(3)
        ]


def test_a_cache_grows_while_it_is_read(tmp_path: Path) -> None:
    cache = LatentCache((write_cache(tmp_path, [2] * 3),))
    with CacheWriter(tmp_path, context=CONTEXT, null_prompt=torch.zeros(4, 16)) as writer:
        assert len(writer) == 3
        writer.add(make_sample(9))
    assert cache.refresh() == 4
    assert cache[3].id == "clip9" and cache[0].id == "clip0"


def test_a_small_data_set_stays_small(tmp_path: Path) -> None:
    cache = LatentCache((write_cache(tmp_path, [2] * 3),), limit=4)
    with CacheWriter(tmp_path, context=CONTEXT, null_prompt=torch.zeros(4, 16)) as writer:
        for number in range(3, 6):
            writer.add(make_sample(number))
    assert cache.refresh() == len(cache) == 4
    assert [cache[k].id for k in range(4)] == [f"clip{k}" for k in range(4)]


def test_a_crash_leaves_whole_shards_only(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        CacheWriter(tmp_path, context=CONTEXT, null_prompt=torch.zeros(4, 16), samples_per_shard=2) as writer,
    ):
        for number in range(3):
            writer.add(make_sample(number))
        raise RuntimeError("power cut")
    assert len(LatentCache((tmp_path,))) == 2
    assert not list(tmp_path.glob(".*.part"))


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    good = make_sample(0)
    assert good.audio is not None and good.weight is not None
    empty = good.person_masks.clone()
    empty[0] = 0
    wrong = [
        replace(good, audio=good.audio[:, :-1]),
        replace(good, weight=good.weight[:-1]),
        replace(good, latents=good.latents[0]),
        replace(good, person_masks=good.person_masks[:, :-1]),
        replace(good, prompt_embeds=None),
        replace(good, person_masks=empty),
    ]
    with CacheWriter(tmp_path, context=CONTEXT, null_prompt=torch.zeros(4, 16)) as writer:
        for sample in wrong:
            with pytest.raises(InputError, match="Sample clip0"):
                writer.add(sample)


def test_folders_that_are_no_caches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latent cache"):
        LatentCache((tmp_path,))
    write_cache(tmp_path / "a", [2])
    with pytest.raises(InputError, match="audio context"):
        CacheWriter(tmp_path / "a", context=5, null_prompt=torch.zeros(4, 16))
    (tmp_path / "a" / "shard-00000.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="clip0 cannot be read"):
        LatentCache((tmp_path / "a",))[0]
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="not a manifest"):
        LatentCache((tmp_path / "a",))
