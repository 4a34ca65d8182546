"""Laws of schedule, noise and guidance that hold for any numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError, NumericalError
from talkies.sampling.denoise import denoise
from talkies.sampling.guidance import AdaptiveProjectedGuidance, ClassifierFreeGuidance, Momentum
from talkies.sampling.noise import cpu_generator, draw_noise
from talkies.sampling.schedule import add_noise, shifted_levels
from talkies.sampling.settings import SETTINGS
from talkies.sampling.solver import EulerSolver

SHAPE = (2, 4, 2, 3, 3)


def predictions_of(
    guider: ClassifierFreeGuidance | AdaptiveProjectedGuidance, seed: int = 0
) -> dict[str, torch.Tensor]:
    generator = cpu_generator(seed)
    return {branch.name: draw_noise(SHAPE, generator) for branch in guider.branches}


@given(steps=st.integers(1, 200), shift=st.floats(0.1, 20))
def test_levels_fall_from_pure_noise_to_clean(steps: int, shift: float) -> None:
    levels = shifted_levels(steps, shift)
    assert levels.shape == (steps + 1,)
    assert abs(levels[0] - 1000) < 1e-3 and levels[-1] == 0
    assert bool((levels.diff() < 0).all())


@given(steps=st.integers(1, 200), shift=st.floats(0.1, 20))
def test_levels_are_the_published_formula(steps: int, shift: float) -> None:
    """Evenly spaced as NumPy does it in float32, then shifted in float32: the authors' arithmetic."""
    u = torch.from_numpy(np.append(np.linspace(1000, 1, steps, dtype=np.float32), np.float32(0))) / 1000
    assert torch.equal(shifted_levels(steps, shift), shift * u / (1 + (shift - 1) * u) * 1000)


@pytest.mark.parametrize(("steps", "shift"), [(0, 7.0), (-3, 7.0), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_impossible_schedules_are_refused(steps: int, shift: float) -> None:
    with pytest.raises(InputError):
        shifted_levels(steps, shift)


def test_noise_path_has_both_ends() -> None:
    generator = cpu_generator(1)
    clean, noise = draw_noise(SHAPE, generator), draw_noise(SHAPE, generator)
    assert torch.equal(add_noise(clean, noise, 0.0), clean)
    assert torch.equal(add_noise(clean, noise, 1000.0), noise)


def test_noise_depends_on_the_seed_alone() -> None:
    reference = draw_noise(SHAPE, cpu_generator(7))
    half = draw_noise(SHAPE, cpu_generator(7), dtype=torch.bfloat16)
    assert torch.equal(half, reference.to(torch.bfloat16))
    assert not torch.equal(draw_noise(SHAPE, cpu_generator(8)), reference)
    with pytest.raises(ValueError, match="CPU"):
        draw_noise(SHAPE, torch.Generator(device="meta") if torch.cuda.is_available() else _NotOnCpu())  # type: ignore[arg-type]


class _NotOnCpu:
    device = torch.device("cuda")


@given(text=st.floats(0, 10), audio=st.floats(0, 10))
def test_agreeing_passes_need_no_guidance(text: float, audio: float) -> None:
    """When every pass predicts the same, so does the guided step, whatever the scales."""
    same = draw_noise(SHAPE, cpu_generator(3))
    for guider in (ClassifierFreeGuidance(text, audio), AdaptiveProjectedGuidance(text, audio)):
        velocity, _ = guider.combine({b.name: same for b in guider.branches}, Momentum())
        torch.testing.assert_close(velocity, same)


@given(text=st.floats(0, 10), audio=st.floats(0, 10), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_plain_guidance_is_the_formula_and_skips_only_passes_that_cancel(text: float, audio: float, seed: int) -> None:
    generator = cpu_generator(seed)
    p = {name: draw_noise(SHAPE, generator) for name in ("cond", "drop_text", "drop_audio", "uncond")}
    expected = p["uncond"] + text * (p["cond"] - p["drop_text"]) + audio * (p["drop_text"] - p["uncond"])
    if text == 1:
        expected = p["drop_audio"] + audio * (p["cond"] - p["drop_audio"])
    guider = ClassifierFreeGuidance(text, audio)
    velocity, _ = guider.combine({b.name: p[b.name] for b in guider.branches}, Momentum())
    torch.testing.assert_close(velocity, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [ClassifierFreeGuidance, AdaptiveProjectedGuidance])
@pytest.mark.parametrize("audio", [1.0, 4.0])
def test_words_do_not_guide_what_voices_decide(
    kind: type[ClassifierFreeGuidance] | type[AdaptiveProjectedGuidance], audio: float
) -> None:
    plain, voiced = kind(5.0, audio), kind(5.0, audio, voiced=(0, 2))
    p = predictions_of(plain)
    guided, apart = (guider.combine(p, Momentum())[0] for guider in (plain, voiced))
    others = [c for c in range(SHAPE[1]) if c not in (0, 2)]
    assert torch.equal(apart[:, others], guided[:, others])
    assert not torch.allclose(apart[:, [0, 2]], guided[:, [0, 2]])
    if kind is ClassifierFreeGuidance:
        heard = (audio - 1) * (p["drop_text"] - p["uncond"]) if audio != 1 else 0.0
        torch.testing.assert_close(apart[:, [0, 2]], (p["cond"] + heard)[:, [0, 2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "audio", "names"),
    [
        (5.0, 4.0, ["cond", "drop_text", "uncond"]),
        (1.0, 2.0, ["cond", "drop_audio"]),
        (5.0, 1.0, ["cond", "drop_text"]),
        (1.0, 1.0, ["cond"]),
    ],
)
def test_passes_of_a_step(text: float, audio: float, names: list[str]) -> None:
    for guider in (ClassifierFreeGuidance(text, audio), AdaptiveProjectedGuidance(text, audio)):
        assert [branch.name for branch in guider.branches] == names


def test_unlimited_apg_that_keeps_everything_is_plain_guidance() -> None:
    apg = AdaptiveProjectedGuidance(5.0, 4.0, momentum=0.0, norm_threshold=0.0, eta=1.0)
    plain = ClassifierFreeGuidance(5.0, 4.0)
    predictions = predictions_of(plain)
    torch.testing.assert_close(
        apg.combine(predictions, Momentum())[0], plain.combine(predictions, Momentum())[0], rtol=1e-4, atol=1e-4
    )


def test_apg_of_a_batch_is_apg_of_each_sample() -> None:
    apg = AdaptiveProjectedGuidance(5.0, 4.0, norm_threshold=3.0)
    memory, singles = Momentum(), [Momentum(), Momentum()]
    for seed in range(3):
        predictions = predictions_of(apg, seed)
        together, memory = apg.combine(predictions, memory)
        for i in range(2):
            alone, singles[i] = apg.combine({k: v[i : i + 1] for k, v in predictions.items()}, singles[i])
            torch.testing.assert_close(together[i : i + 1], alone)


def test_apg_survives_a_difference_of_zero_and_a_prediction_of_zero() -> None:
    apg = AdaptiveProjectedGuidance(5.0, 4.0)
    zero = torch.zeros(SHAPE)
    velocity, _ = apg.combine({b.name: zero for b in apg.branches}, Momentum())
    assert torch.equal(velocity, zero)


def test_apg_remembers_nothing_by_itself() -> None:
    apg = AdaptiveProjectedGuidance(5.0, 4.0)
    first = apg.combine(predictions_of(apg, 0), Momentum())[0]
    _, memory = apg.combine(predictions_of(apg, 1), Momentum())
    assert torch.equal(apg.combine(predictions_of(apg, 0), Momentum())[0], first)
    assert not torch.equal(apg.combine(predictions_of(apg, 0), memory)[0], first)
    with pytest.raises(dataclasses.FrozenInstanceError):
        apg.momentum = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("values", [(-1.0, 4.0), (5.0, float("nan")), (5.0, 1000.0)])
def test_impossible_scales_are_refused(values: tuple[float, float]) -> None:
    for kind in (ClassifierFreeGuidance, AdaptiveProjectedGuidance):
        with pytest.raises(InputError, match="guidance scale"):
            kind(*values)


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"norm_threshold": -1.0}, {"eta": 2.0}])
def test_impossible_apg_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        AdaptiveProjectedGuidance(**options)


def test_straight_path_is_solved_in_one_step() -> None:
    """With the true velocity (noise - clean) Euler lands on the clean latent for any number of steps."""
    generator = cpu_generator(5)
    clean, noise = draw_noise(SHAPE, generator), draw_noise(SHAPE, generator)
    for steps in (1, 4, 13):
        solver = EulerSolver(shifted_levels(steps, 7.0))
        result = denoise(lambda b, x, t: noise - clean, noise, solver, ClassifierFreeGuidance(1, 1))
        torch.testing.assert_close(result, clean, rtol=1e-5, atol=1e-5)


def test_a_prediction_that_is_not_finite_stops_the_run_with_its_place() -> None:
    def broken(branch: object, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, float("nan")) if t[0] < 1000 else x

    with pytest.raises(NumericalError, match="'cond' at step 2"):
        denoise(broken, torch.ones(SHAPE), EulerSolver(shifted_levels(4, 2.0)), ClassifierFreeGuidance())


def test_named_settings() -> None:
    assert (SETTINGS["480p"].steps, SETTINGS["480p"].shift) == (40, 7.0)
    assert (SETTINGS["720p"].steps, SETTINGS["720p"].shift) == (40, 11.0)
    for name, steps in (("lightx2v", 4), ("fusionx", 8)):
        few = SETTINGS[name]
        assert (few.steps, few.shift, few.text_scale, few.audio_scale) == (steps, 2.0, 1.0, 2.0)
        assert few.solver().levels.shape == (steps + 1,)
        assert [b.name for b in few.guider().branches] == ["cond", "drop_audio"]
    with pytest.raises(TypeError):
        SETTINGS["480p"] = SETTINGS["720p"]  # type: ignore[index]
