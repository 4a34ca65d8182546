"""Caches between steps: off they change nothing, on they skip work, and guidance branches never see each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.diffusers_hooks import calibrate_mag_ratios, disable_cache, enable_cache, reset_cache
from talkies.runtime.profile import CacheSettings
from tiny_network import tiny_inputs, tiny_transformer

STEPS = 8
RATIOS = (1.0, 1.02, 0.99, 1.01, 0.98, 1.01, 0.97, 0.95)
# Each branch as guidance runs it: other conditions, and for "uncond" another number of people.
BRANCHES = {"cond": 2, "drop_text": 2, "uncond": 1}
OFF = {
    "first_block": CacheSettings("first_block", threshold=0.0),
    "mag": CacheSettings("mag", threshold=0.0, num_inference_steps=STEPS, mag_ratios=RATIOS, warmup_steps=1),
    "taylorseer": CacheSettings("taylorseer", interval=1, warmup_steps=1),
}
ON = {
    "first_block": CacheSettings("first_block", threshold=0.3),
    "mag": CacheSettings("mag", threshold=0.2, num_inference_steps=STEPS, mag_ratios=RATIOS, warmup_steps=2),
    "taylorseer": CacheSettings("taylorseer", interval=3, warmup_steps=2),
}


@contextmanager
def counted_blocks(model: MultiTalkTransformer3DModel) -> Iterator[list[int]]:
    """How often the feed-forward of the last block ran, that is, how many calls were computed in full."""
    count = [0]
    handle = model.blocks[-1].ffn.register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    try:
        yield count
    finally:
        handle.remove()


@torch.no_grad()
def sample(model: MultiTalkTransformer3DModel, branches: tuple[str, ...]) -> dict[str, list[torch.Tensor]]:
    """A run of STEPS steps whose inputs drift slowly; outputs of every call by branch."""
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in branches}
    for step in range(STEPS):
        for name in branches:
            inputs: dict[str, Any] = tiny_inputs(BRANCHES[name], 1000 - 10 * step, seed=list(BRANCHES).index(name))
            inputs["hidden_states"] = inputs["hidden_states"] * (1 - 0.01 * step)
            with model.cache_context(name):
                outputs[name].append(model(**inputs).sample)
    return outputs


def assert_equal_runs(
    a: dict[str, list[torch.Tensor]], b: dict[str, list[torch.Tensor]], names: Any = BRANCHES
) -> None:
    for name in names:
        for step in range(STEPS):
            assert torch.equal(a[name][step], b[name][step]), f"{name}, step {step}"


@pytest.mark.parametrize("kind", OFF)
def test_a_cache_that_never_skips_changes_nothing(kind: str, model: MultiTalkTransformer3DModel) -> None:
    plain = sample(model, tuple(BRANCHES))
    enable_cache(model, OFF[kind])
    with counted_blocks(model) as count:
        cached = sample(model, tuple(BRANCHES))
    assert count[0] == STEPS * len(BRANCHES)
    assert_equal_runs(cached, plain)


@pytest.mark.parametrize("kind", ON)
def test_branches_do_not_leak(kind: str, model: MultiTalkTransformer3DModel) -> None:
    """Interleaved, every branch gives bit for bit what it gives when it runs alone on a fresh network."""
    plain = sample(model, tuple(BRANCHES))
    enable_cache(model, ON[kind])
    with counted_blocks(model) as count:
        together = sample(model, tuple(BRANCHES))
    assert count[0] < STEPS * len(BRANCHES), "nothing was skipped, so nothing was tested"
    for name in BRANCHES:
        alone = tiny_transformer()
        enable_cache(alone, ON[kind])
        assert_equal_runs(sample(alone, (name,)), together, [name])
        error = max((a - b).abs().max() / b.abs().max() for a, b in zip(together[name], plain[name], strict=True))
        assert 0 < error < 0.5  # it approximates


@pytest.mark.parametrize("kind", ON)
def test_reset_forgets_the_segment_before(kind: str, model: MultiTalkTransformer3DModel) -> None:
    enable_cache(model, ON[kind])
    first = sample(model, ("cond",))
    reset_cache(model)
    assert_equal_runs(sample(model, ("cond",)), first, ["cond"])


def test_switching_on_over_and_off(model: MultiTalkTransformer3DModel) -> None:
    plain = sample(model, ("cond",))
    for kind in (*ON, *ON):
        enable_cache(model, ON[kind])
        sample(model, ("cond",))
    enable_cache(model, CacheSettings("none"))
    assert not model.is_cache_enabled
    disable_cache(model)
    reset_cache(model)
    assert_equal_runs(sample(model, ("cond",)), plain, ["cond"])


def test_mag_ratios_are_measured_for_each_branch(
    model: MultiTalkTransformer3DModel, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = calibrate_mag_ratios(model, lambda: sample(model, tuple(BRANCHES)), STEPS)
    assert set(ratios) == set(BRANCHES)
    assert all(len(values) == STEPS and values[0] == 1.0 for values in ratios.values())
    assert all(0.5 < value < 2 for values in ratios.values() for value in values)
    assert ratios["cond"] != ratios["uncond"]
    assert not model.is_cache_enabled
    assert capsys.readouterr().out == ""
    enable_cache(model, CacheSettings("mag", num_inference_steps=STEPS, mag_ratios=ratios["cond"]))
    sample(model, ("cond",))


def test_one_block_cannot_be_cached() -> None:
    with pytest.raises(InputError, match="only one"):
        enable_cache(tiny_transformer(num_layers=1), ON["first_block"])
