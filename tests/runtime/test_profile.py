"""The plan for a machine: fits what it says it fits, gets leaner as memory shrinks, explains itself."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from accelerate import init_empty_weights
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.runtime.machine import detect_machine
from talkies.runtime.profile import (
    CacheSettings,
    ModelSize,
    RuntimeProfile,
    activation_bytes,
    estimate,
    plan,
    plan_as_chosen,
)

GIB = 2**30


@pytest.fixture(scope="module")
def size_14b() -> ModelSize:
    """The 14B transformer, counted on the meta device, with umT5-xxl's and the small parts' published sizes."""
    with init_empty_weights():
        transformer = MultiTalkTransformer3DModel()
    counted = ModelSize.of({"transformer": transformer}, activation_bytes(32_760, 5120, 13_824))
    return dataclasses.replace(
        counted, text_encoder=5_680_910_336, largest_text_layer=256_384 * 4096, others=860_000_000
    )


def test_the_14b_model_is_counted_right(size_14b: ModelSize) -> None:
    assert size_14b.transformer == 18_882_046_784
    assert 40 * size_14b.largest_block == size_14b.blocks < size_14b.transformer


@pytest.mark.parametrize(
    ("vram", "ram", "offload", "quantization"),
    [
        (80, 64, "none", "none"),
        (48, 128, "model", "none"),
        (32, 64, "model", "fp8"),
        (24, 128, "group", "none"),
        (16, 48, "group", "fp8"),
        (12, 40, "group", "fp8"),
    ],
)
def test_common_cards(size_14b: ModelSize, vram: int, ram: int, offload: str, quantization: str) -> None:
    chosen = plan(size_14b, vram * GIB, ram * GIB)
    assert (chosen.profile.offload, chosen.profile.quantization) == (offload, quantization)
    assert chosen.profile.dtype == "bfloat16"
    assert f"{vram}.0 GiB of cuda memory" in str(chosen)
    assert "Estimated peak" in str(chosen)


def test_what_somebody_chose_is_estimated_as_chosen(size_14b: ModelSize) -> None:
    wide = RuntimeProfile("cuda", "float32", "model")
    told = plan_as_chosen(size_14b, wide, 24 * GIB, 128 * GIB)
    assert told.profile == wide
    assert told.device_bytes == size_14b.transformer * 4 + size_14b.activations
    assert "kept in float32" in str(told) and "More than is safely free" in str(told)
    assert "More than" not in str(plan_as_chosen(size_14b, RuntimeProfile("cuda", "bfloat16"), 200 * GIB, 128 * GIB))
    half, whole = (estimate(size_14b, RuntimeProfile("cpu", dtype)) for dtype in ("float16", "float32"))
    assert whole.host_bytes - size_14b.activations == 2 * (half.host_bytes - size_14b.activations)


def test_what_does_not_fit_is_refused_with_the_estimate(size_14b: ModelSize) -> None:
    with pytest.raises(InputError, match=r"does not fit.*GiB on cuda.*4\.0 GiB and 16\.0 GiB are free"):
        plan(size_14b, 4 * GIB, 16 * GIB)
    with pytest.raises(InputError, match=r"main memory in bfloat16, 16\.0 GiB are free"):
        plan(size_14b, 0, 16 * GIB)


def test_without_an_accelerator(size_14b: ModelSize) -> None:
    assert plan(size_14b, 0, 256 * GIB).profile == RuntimeProfile(device="cpu", dtype="float32")
    assert plan(size_14b, 0, 80 * GIB).profile == RuntimeProfile(device="cpu", dtype="bfloat16")
    assert plan(size_14b, 0, 256 * GIB).device_bytes == 0


@given(vram=st.integers(1, 200), ram=st.integers(1, 300))
def test_a_plan_fits_and_more_memory_never_makes_it_leaner(size_14b: ModelSize, vram: int, ram: int) -> None:
    order = [("none", "none"), ("model", "none"), ("model", "fp8"), ("group", "none"), ("group", "fp8")]

    def rank(vram: int, ram: int) -> int:
        try:
            chosen = plan(size_14b, vram * GIB, ram * GIB)
        except InputError:
            return len(order)
        assert chosen.device_bytes <= vram * GIB
        assert chosen.host_bytes <= ram * GIB
        return order.index((chosen.profile.offload, chosen.profile.quantization))

    assert rank(vram + 8, ram) <= rank(vram, ram)
    assert rank(vram, ram + 8) <= rank(vram, ram)


def test_activations_are_estimated_from_above() -> None:
    """Measured: the peak that one forward pass allocates beyond the weights, on the CPU in float32."""
    dim, ffn, tokens = 192, 512, 6 * 16 * 16
    model = MultiTalkTransformer3DModel(
        num_attention_heads=3, attention_head_dim=64, in_channels=8, out_channels=4, text_dim=16, freq_dim=16,
        ffn_dim=ffn, num_layers=2, image_dim=None, added_kv_proj_dim=None, audio_blocks=2, audio_channels=6,
        audio_hidden_dim=8, audio_output_dim=16, audio_context_tokens=2,
    ).eval()  # fmt: skip
    masks = torch.zeros(1, 3, 32, 32)
    masks[:, 0, :, :10], masks[:, 1, :, 22:], masks[:, 2, :, 10:22] = 1, 1, 1
    inputs = (torch.randn(1, 8, 6, 32, 32), torch.tensor([500.0]), torch.randn(1, 8, 16), None,
              torch.randn(1, 2, 21, 5, 2, 6), masks)  # fmt: skip
    with torch.no_grad(), torch.profiler.profile(profile_memory=True) as profiler:
        model(*inputs)
    held, peak = 0, 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    estimate = activation_bytes(tokens, dim, ffn, "float32")
    assert 0.4 * estimate < peak <= estimate


def test_this_machine_is_seen() -> None:
    machine = detect_machine()
    assert machine.free_ram > 0
    assert (machine.free_vram == 0) == (machine.device == "cpu")


@pytest.mark.parametrize(
    "options",
    [
        {"device": "cpu", "offload": "model"},
        {"device": "cuda", "offload": "group", "quantization": "int8"},
        {"device": "cuda", "offload": "group", "compile": True},
        {"device": "cuda", "compile": True, "cache": CacheSettings("first_block")},
    ],
)
def test_contradictions_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        RuntimeProfile(**options)


@pytest.mark.parametrize("options", [{"threshold": -1}, {"kind": "mag"}, {"interval": 0}])
def test_impossible_caches_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        CacheSettings(**options)
