"""A picture in two layers: what does not move is the picture again, and what stays behind stays."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.layers import filled, in_layers
from talkies.models.motion_latents import CELL, FLOW_CHANNELS, FLOW_UNIT, MOTION_CHANNELS
from talkies.models.optical_flow import warp_sharply, with_half_pixels


def drawn(seed: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A picture and any matte, soft or hard."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(2, 3, height, width, generator=generator) * 2 - 1
    matte = (torch.randn(2, 1, height, width, generator=generator) * (1 + seed % 7) + 0.5).clamp(0, 1)
    return picture, matte


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_what_does_not_move_is_the_picture_whatever_the_matte(seed: int, height: int, width: int) -> None:
    picture, matte = drawn(seed, height, width)
    still = in_layers(picture, matte).moved(torch.zeros(2, 3, 2, height, width))[0]
    assert torch.allclose(still, picture[:, None].expand_as(still), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-6, 6), st.floats(-6, 6))
def test_without_a_matte_all_moves_and_where_all_is_people_too(seed: int, right: float, down: float) -> None:
    picture, matte = drawn(seed, 24, 31)
    flow = torch.tensor([right, down]).view(1, 1, 2, 1, 1).expand(2, 2, 2, 24, 31)
    moved = warp_sharply(with_half_pixels(picture), flow)
    for layers in (in_layers(picture, None), in_layers(picture, torch.ones_like(matte))):
        frames, share = layers.moved(flow)
        assert torch.allclose(frames, moved, atol=1e-4) and torch.allclose(share, torch.ones_like(share), atol=1e-4)


def test_ground_behind_somebody_who_moves_stays_and_what_they_hid_is_like_what_is_beside() -> None:
    stripes = (torch.arange(80) // 4 % 2 * 2.0 - 1).expand(1, 3, 60, 80)
    matte = torch.zeros(1, 1, 60, 80)
    matte[..., 20:40, 30:50] = 1
    picture = torch.where(matte > 0, torch.tensor([0.9, -0.9, 0.1]).view(1, 3, 1, 1), stripes)
    moved = in_layers(picture, matte).moved(torch.full((1, 1, 2, 60, 80), -4.0))[0][0, 0]  # down and to the right
    away = torch.ones(60, 80, dtype=torch.bool)
    away[17:48, 27:58] = False
    assert torch.allclose(moved[:, away], picture[0][:, away], atol=1e-4)
    person = torch.tensor([0.9, -0.9, 0.1])[:, None, None]
    assert torch.allclose(moved[:, 26:42, 36:52], person.expand(3, 16, 16), atol=1e-3)
    uncovered = moved[:, 22:24, 32:48]
    assert ((uncovered - person).abs().amax(0) > 0.4).all() and uncovered.abs().max() <= 1.1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 33), st.integers(1, 33))
def test_filling_keeps_what_is_known_and_invents_no_new_extremes(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(1, 3, height, width, generator=generator)
    known = (torch.rand(1, 1, height, width, generator=generator) > 0.7).float()
    full = filled(picture, known)
    assert torch.allclose(full * known, picture * known, atol=1e-5)
    if known.any():
        inside = picture.where(known > 0, torch.nan)
        low, high = (torch.tensor([f(c[~c.isnan()]) for c in inside[0]]) for f in (torch.min, torch.max))
        assert (full[0] >= low[:, None, None] - 1e-4).all() and (full[0] <= high[:, None, None] + 1e-4).all()


@torch.no_grad()
def test_the_codec_moves_people_before_a_still_ground_and_a_face_that_the_matte_misses() -> None:
    model = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(1, 3, 6 * CELL, 7 * CELL, generator=generator) * 2 - 1
    z = torch.zeros(1, MOTION_CHANNELS + 2, 2, 6, 7)
    z[:, :FLOW_CHANNELS, 1] = 3 / FLOW_UNIT
    z[:, MOTION_CHANNELS:] = 1
    model.basis.data.normal_(0, 0.1, generator=generator)
    matte = torch.zeros(1, 1, *picture.shape[-2:])
    assert torch.allclose(model.decode(z, picture, matte=matte).sample[0, :, 3], picture[0], atol=1e-4)
    assert not torch.allclose(model.decode(z, picture).sample[0, :, 3], picture[0], atol=0.1)
    face = torch.tensor([[40.0, 30.0], [70.0, 32.0], [55.0, 45.0], [45.0, 62.0], [66.0, 63.0]])[None, None]
    moved = model.decode(z, picture, face, matte=matte).sample[0, :, 3] - picture[0]
    assert moved[:, 40:56, 48:64].abs().max() > 0.5 and moved[:, :, :6].abs().max() < 1e-4
