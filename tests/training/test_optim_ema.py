"""Optimisers, schedules, averages: known laws and exact state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from talkies.domain.errors import InputError
from talkies.training.config import OptimizerSection, ScheduleSection
from talkies.training.ema import Ema
from talkies.training.muon import Muon, orthogonalise
from talkies.training.optim import (
    build_optimizers,
    clip_gradients,
    is_block_matrix,
    load_state_tensors,
    rate_factor,
    set_rates,
    state_tensors,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(6, 4)])
        self.out = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.blocks[0](x).tanh())


def steps(net: Net, optimizers: list[torch.optim.Optimizer], first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        net(x).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_state_survives_as_plain_tensors(name: str) -> None:
    section = OptimizerSection(name=name)  # type: ignore[arg-type]
    whole, first, second = Net(), Net(), Net()
    steps(whole, build_optimizers(dict(whole.named_parameters()), section), 0, 6)
    optimizers = build_optimizers(dict(first.named_parameters()), section)
    steps(first, optimizers, 0, 3)
    saved = {key: value.clone() for key, value in state_tensors(optimizers, dict(first.named_parameters())).items()}
    second.load_state_dict(first.state_dict())
    resumed = build_optimizers(dict(second.named_parameters()), section)
    load_state_tensors(resumed, dict(second.named_parameters()), saved)
    steps(second, resumed, 3, 6)
    for expected, found in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(expected, found)
    with pytest.raises(InputError, match="does not fit"):
        load_state_tensors(resumed, {"other": nn.Parameter(torch.zeros(1))}, saved)


def test_muon_takes_block_matrices_only() -> None:
    net = Net()
    muon, adamw = build_optimizers(dict(net.named_parameters()), OptimizerSection(name="muon"))
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(net.blocks[0].weight)]
    assert sum(len(group["params"]) for group in adamw.param_groups) == 3
    assert not is_block_matrix("transformer.proj_out.weight", nn.Parameter(torch.zeros(2, 2)))
    with pytest.raises(InputError, match="no parameters"):
        build_optimizers({}, OptimizerSection())


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 99))
def test_momentum_is_made_orthogonal(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    found = torch.linalg.svdvals(orthogonalise(matrix, steps=9).float())
    assert found.max() < 1.3
    assert found[torch.linalg.svdvals(matrix) > 0.1 * matrix.norm()].min() > 0.6


def test_muon_is_torchs() -> None:
    """Torch's computes in bf16 everywhere, ours where that is quick: they part by its rounding."""
    ours, theirs = (nn.Parameter(torch.ones(6, 9)) for _ in range(2))
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}
    pair = (Muon([ours], **settings), torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings))
    for step in range(5):
        gradient = torch.randn(6, 9, generator=torch.Generator().manual_seed(step))
        for parameter, optimizer in zip((ours, theirs), pair, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - 1).square().mean().sqrt()
    assert (ours - theirs).square().mean().sqrt() < 0.02 * moved


def test_vectors_are_not_decayed() -> None:
    net = Net()
    (adamw,) = build_optimizers(dict(net.named_parameters()), OptimizerSection(weight_decay=0.5))
    decay = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert decay[id(net.out.weight)] == 0.5 and decay[id(net.out.bias)] == 0.0


@given(
    st.sampled_from(["constant", "cosine", "wsd"]),
    st.integers(0, 50),
    st.floats(0, 1),
    st.integers(0, 1000),
    st.floats(0, 1),
)
def test_rates_stay_in_range(name: str, warmup: int, decay: float, step: int, progress: float) -> None:
    section = ScheduleSection(name=name, warmup=warmup, decay=decay, final=0.05)  # type: ignore[arg-type]
    factor = rate_factor(section, step, progress)
    assert 0 < factor <= 1
    if step < warmup - 1:
        assert factor < 1


def test_wsd_is_flat_then_linear() -> None:
    section = ScheduleSection(name="wsd", warmup=10, decay=0.5, final=0.1)
    assert rate_factor(section, 0, 0.0) == pytest.approx(0.1)
    assert [rate_factor(section, 99, p) for p in (0.1, 0.5, 0.75, 1.0)] == pytest.approx([1, 1, 0.5, 0.1])
    net = Net()
    optimizers = build_optimizers(dict(net.named_parameters()), OptimizerSection(lr=0.4))
    set_rates(optimizers, 0.5)
    set_rates(optimizers, 0.5)
    assert optimizers[0].param_groups[0]["lr"] == pytest.approx(0.2)


def test_clipping_returns_the_norm_before() -> None:
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 3.0)
    assert float(clip_gradients([parameter], 1.0)) == pytest.approx(6.0)
    assert float(parameter.grad.norm()) == pytest.approx(1.0, rel=1e-4)


def test_averages_follow_their_formula_and_can_be_swapped_in() -> None:
    parameter = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    ema = Ema({"w": parameter}, 0.99)
    expected = torch.ones(3)
    for number in range(1, 30):
        parameter.data.fill_(number)
        ema.update()
        decay = min(0.99, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * number
    torch.testing.assert_close(ema.averages["w"], expected)
    with ema.applied():
        assert torch.equal(parameter.data, expected.bfloat16())
    assert parameter.data.eq(29).all()
    other = Ema({"w": parameter}, 0.99)
    other.load(ema.averages, 29)
    assert other.updates == 29 and torch.equal(other.averages["w"], ema.averages["w"])
