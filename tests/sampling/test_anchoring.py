"""Colour anchoring: the authors' values, and what must hold for any picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from talkies.sampling.anchoring import lab_to_rgb, match_colours, rgb_to_lab

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "sampler.safetensors"


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not here")
@pytest.mark.parametrize(("name", "strength"), [("strength1", 1.0), ("strength0.4", 0.4)])
def test_matching_is_the_authors(name: str, strength: float) -> None:
    golden = load_file(GOLDEN)
    matched = match_colours(golden["color.source"], golden["color.reference"][:, :, 0], strength)
    torch.testing.assert_close(matched, golden[f"color.out.{name}"], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_lab_and_back(seed: int) -> None:
    rgb = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-5, rtol=0)


def test_lab_of_known_colours() -> None:
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T[:, None]  # [3, 1, 3]: white, black, red
    lab = rgb_to_lab(rgb)[:, 0].T
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])
    torch.testing.assert_close(lab, expected, atol=0.02, rtol=0)


def test_already_alike_stays() -> None:
    frames = torch.rand(2, 3, 4, 8, 8) * 1.6 - 0.8
    torch.testing.assert_close(
        match_colours(frames[:, :, :1], frames[:, :, 0], 1.0), frames[:, :, :1], atol=1e-4, rtol=0
    )
    assert match_colours(frames, frames[:, :, 0], 0.0) is frames


def test_a_cast_is_undone_frame_by_frame() -> None:
    reference = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.8 - 0.4
    drifted = torch.stack([reference * 0.8 + 0.1 * step for step in range(3)], dim=2)
    matched = match_colours(drifted, reference, 1.0)
    error, before = ((frames - reference[:, :, None]).abs().mean((0, 1, 3, 4)) for frames in (matched, drifted))
    assert (error < 0.3 * before).all() and error.max() < 0.02


def test_one_colour_has_no_spread_to_scale() -> None:
    grey = torch.zeros(1, 3, 2, 4, 4)
    assert torch.isfinite(match_colours(grey, torch.rand(1, 3, 4, 4), 1.0)).all()
