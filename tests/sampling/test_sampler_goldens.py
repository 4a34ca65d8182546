"""Schedule, guidance, APG and Euler runs against recordings of the authors' program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from talkies.sampling.denoise import denoise
from talkies.sampling.guidance import AdaptiveProjectedGuidance, Branch, ClassifierFreeGuidance, Guider, Momentum
from talkies.sampling.noise import cpu_generator, draw_noise
from talkies.sampling.schedule import shifted_levels
from talkies.sampling.solver import EulerSolver

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden files at {GOLDEN}")

CASES = ("cfg_t5_a4", "cfg_t1_a4", "apg_t5_a4", "apg_t1_a2")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "sampler.safetensors")


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return json.loads((GOLDEN / "sampler.json").read_text())


def guider_of(case: dict[str, Any]) -> Guider:
    scales = case["text_guide_scale"], case["audio_guide_scale"]
    if case.get("use_apg"):
        return AdaptiveProjectedGuidance(*scales, momentum=case["apg_momentum"], norm_threshold=case["apg_thr"])
    return ClassifierFreeGuidance(*scales)


def stub_denoiser(g: dict[str, torch.Tensor], branch: Branch, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The stand-in network of the recording (golden/README.md): channel mixing, linear in every input."""
    audio = g["audio"] if branch.audio else torch.zeros_like(g["audio"])
    context = g["context"] if branch.text else g["context_null"]
    per_frame = audio.sum(0).mean(dim=(1, 2, 3))  # [F]
    a = torch.cat([per_frame[:1], per_frame[1:].reshape(-1, 4).mean(1)])  # [T]
    out = torch.einsum("oc,bcthw->bothw", g["denoiser.Wx"], x)
    out = out + torch.einsum("oc,bcthw->bothw", g["denoiser.Wy"], g["y"])
    bias = t[0] / 1000 * g["denoiser.bt"] + context.mean(0) @ g["denoiser.Wc"]  # [C]
    return out + bias[:, None, None, None] + g["denoiser.Wa"][:, None, None, None] * a[:, None, None]


@pytest.mark.parametrize("name", ["steps40_shift3", "steps40_shift5", "steps40_shift7", "steps8_shift2"])
def test_timesteps_are_the_authors_bit_for_bit(name: str, record: dict[str, Any]) -> None:
    steps, shift = name.removeprefix("steps").split("_shift")
    assert shifted_levels(int(steps), float(shift)).tolist() == record["timesteps"][name]


@pytest.mark.parametrize("name", CASES)
def test_noise_of_a_seed_is_the_authors(name: str, record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    noise = tensors[f"{name}.noise"]
    assert torch.equal(draw_noise(tuple(noise.shape), cpu_generator(record["cases"][name]["seed"])), noise)


@pytest.mark.parametrize("name", ["cfg_t1_a4", "apg_t5_a4", "apg_t1_a2"])
def test_guidance_and_euler_on_recorded_predictions(
    name: str, record: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> None:
    case = record["cases"][name]
    guider, solver = guider_of(case), EulerSolver(shifted_levels(case["sampling_steps"], case["shift"]))
    assert solver.levels.tolist() == case["timesteps"]
    assert len(guider.branches) == case["calls_per_step"]
    before, recorded = tensors[f"{name}.latent_before_step"], tensors[f"{name}.preds"]
    after = [*before[1:], tensors[f"{name}.final"]]
    memory = Momentum()
    for i in range(case["sampling_steps"]):
        predictions = {b.name: recorded[i, k][None] for k, b in enumerate(guider.branches)}
        velocity, memory = guider.combine(predictions, memory)
        torch.testing.assert_close(solver.step(velocity, i, before[i][None])[0], after[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_whole_run(name: str, record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    case = record["cases"][name]
    seen: list[torch.Tensor] = []

    def keep(index: int, latents: torch.Tensor) -> torch.Tensor:
        assert index == len(seen)
        seen.append(latents[0])
        return latents

    noise = tensors[f"{name}.noise"]
    final = denoise(
        lambda branch, x, t: stub_denoiser(tensors, branch, x, t),
        noise[None],
        EulerSolver(shifted_levels(case["sampling_steps"], case["shift"])),
        guider_of(case),
        keep,
    )
    expected = tensors[f"{name}.final"]
    scale = expected.abs().max().item()
    torch.testing.assert_close(final[0], expected, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(torch.stack(seen[:-1]), tensors[f"{name}.latent_before_step"][1:], rtol=0,
                               atol=1e-5 * scale)  # fmt: skip


@pytest.mark.parametrize("threshold", [0, 5, 55])
@pytest.mark.parametrize("momentum", [-0.75, 0.0])
def test_apg_calls(threshold: int, momentum: float, tensors: dict[str, torch.Tensor]) -> None:
    apg = AdaptiveProjectedGuidance(momentum=momentum, norm_threshold=threshold)
    expected = tensors[f"apg.out.thr{threshold}.{'mom' if momentum else 'nomom'}"]
    check_apg(apg, expected, tensors)


def test_apg_keeps_a_share_of_the_parallel_part(tensors: dict[str, torch.Tensor]) -> None:
    check_apg(AdaptiveProjectedGuidance(norm_threshold=5.0, eta=0.5), tensors["apg.out.eta0.5"], tensors)


def check_apg(apg: AdaptiveProjectedGuidance, expected: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
    total = None
    for difference, cond, out in zip(tensors["apg.diff"], tensors["apg.pred_cond"], expected, strict=True):
        total = apg.accumulate(difference[None], total)
        torch.testing.assert_close(apg.project(total, cond[None])[0], out, rtol=1e-5, atol=1e-6)
