"""The reference-conditioned autoencoder: what its latents are, whatever its networks have learnt."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import (
    CELL,
    EXPRESSIONS,
    FLOW_CHANNELS,
    FLOW_UNIT,
    FRAMES,
    MOTION_CHANNELS,
    PLACES,
    coarse_flow,
    compress_flow,
    enlarge,
    expand_flow,
    join_faces,
    smooth_flow,
    split_faces,
)
from talkies.models.optical_flow import warp, warp_sharply, with_half_pixels


def tiny(components: int = 4) -> AutoencoderReference:
    torch.manual_seed(0)
    model = AutoencoderReference(MOTION_CHANNELS + components, (8, 8, 8, 16)).eval()
    basis = torch.linalg.qr(torch.randn(model.basis.shape[1], components)).Q.T
    model.basis.data.copy_(basis)
    return model


@torch.no_grad()
def test_the_reference_itself_is_still() -> None:
    model, picture = tiny(), torch.rand(1, 3, 32, 48) * 2 - 1
    z = model.encode(picture[:, :, None], picture).latent_dist.mode()
    assert z.shape == (1, MOTION_CHANNELS + 4, 1, 2, 3)
    assert z[:, :FLOW_CHANNELS].abs().max() == 0
    assert z[:, MOTION_CHANNELS:].abs().max() < 1e-5
    # an untrained painter adds nothing: the picture comes back
    assert torch.allclose(model.decode(z, picture).sample[:, :, 0], picture, atol=1e-5)


@torch.no_grad()
def test_what_the_transformer_is_told() -> None:
    model, picture = tiny(), torch.rand(1, 3, 32, 48) * 2 - 1
    places = torch.rand(1, PLACES, 2, 3)
    told = model.encode_reference(picture, places)
    assert told.shape == (1, model.reference_channels, 2, 3)
    assert torch.equal(told[:, :PLACES], places)
    assert not model.encode_reference(picture)[:, :PLACES].any()


@torch.no_grad()
def test_decoding_a_part_is_that_part_of_the_whole() -> None:
    model, picture = tiny(), torch.rand(2, 3, 32, 32) * 2 - 1
    z = torch.randn(2, MOTION_CHANNELS + 4, 3, 2, 2) * 0.1
    whole, part = model.decode(z, picture), model.decode(z[:, :, :2], picture)
    assert whole.sample.shape == (2, 3, 9, 32, 32) and whole.flow.shape == (2, 2, 9, 32, 32)
    assert torch.equal(whole.sample[:, :, :5], part.sample)


@torch.no_grad()
def test_coring_takes_small_components_and_nothing_else() -> None:
    model, picture = tiny(), torch.rand(1, 3, 32, 32) * 2 - 1
    z = torch.randn(1, MOTION_CHANNELS + 4, 2, 2, 2) * 0.1
    small = z.clone()
    small[:, MOTION_CHANNELS:].clamp_(-0.2, 0.2)
    model.register_to_config(coring=0.2)
    still = torch.cat([small[:, :MOTION_CHANNELS], torch.zeros_like(small[:, MOTION_CHANNELS:])], 1)
    assert torch.allclose(model.decode(small, picture).sample, model.decode(still, picture).sample)


@pytest.mark.parametrize("knee", [None, 0.5])
@torch.no_grad()
def test_flow_of_a_decoded_film_encodes_to_the_same_motion(knee: float | None) -> None:
    """What a long video hands over: the flow that frames were drawn with is the flow they are encoded with."""
    model, picture = tiny(), torch.rand(1, 3, 48, 48) * 2 - 1
    model.register_to_config(flow_knee=knee)
    z = torch.zeros(1, MOTION_CHANNELS + 4, 2, 3, 3)
    z[:, :FLOW_CHANNELS, 1] = torch.linspace(-0.2, 0.2, FLOW_CHANNELS)[:, None, None]
    decoded = model.decode(z, picture)
    again = model.encode(decoded.sample, picture, decoded.flow).latent_dist.mode()
    assert torch.allclose(again[:, :FLOW_CHANNELS], z[:, :FLOW_CHANNELS], atol=1e-5)


@given(st.floats(-200, 200), st.floats(0.5, 20))
def test_compressed_flow_comes_back_and_is_never_larger(pixels: float, knee: float) -> None:
    z = torch.full((1, MOTION_CHANNELS), pixels / FLOW_UNIT, dtype=torch.float64)
    compressed = compress_flow(z, knee)
    assert torch.equal(compressed[:, FLOW_CHANNELS:], z[:, FLOW_CHANNELS:])  # flow alone
    assert torch.allclose(expand_flow(compressed, knee), z, rtol=1e-4)
    flow = compressed[0, 0].item() * FLOW_UNIT
    assert abs(flow) <= abs(pixels) * (1 + 1e-6) + 1e-6 and flow * pixels >= 0
    if abs(pixels) < knee / 4:
        assert flow == pytest.approx(pixels, rel=0.02, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_faces_join_and_split(count: int, rows: int, columns: int) -> None:
    expression = torch.randn(count, FRAMES, EXPRESSIONS, rows, columns)
    place = torch.rand(count, 1, PLACES, rows, columns).expand(-1, FRAMES, -1, -1, -1)
    faces = torch.cat([expression, place], 2)
    assert torch.allclose(split_faces(join_faces(faces)), faces)


def test_warping_by_whole_pixels_shifts() -> None:
    picture = torch.rand(1, 3, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2
    assert torch.allclose(warp(picture, flow)[..., :-2], picture[..., 2:], atol=1e-5)


def test_a_sharp_look_keeps_still_ground_and_shifts_by_whole_pixels() -> None:
    pictures = torch.rand(2, 3, 8, 10)
    flow = torch.zeros(2, 2, 2, 8, 10)
    flow[:, 1, 0] = 2
    still, moved = warp_sharply(with_half_pixels(pictures), flow).unbind(1)
    assert torch.allclose(still, pictures, atol=1e-5)
    assert torch.allclose(moved[..., :-2], pictures[..., 2:], atol=1e-5)


@pytest.mark.parametrize("shift", [0.25, 0.5, 0.7])
def test_a_sharp_look_keeps_fine_stripes_between_pixels(shift: float) -> None:
    """Stripes of four pixels, which a bilinear look flattens to 0.71 at half a pixel."""
    across = torch.arange(48.0)
    wave = (across * torch.pi / 2).sin().expand(1, 3, 8, 48)
    flow = torch.zeros(1, 1, 2, 8, 48)
    flow[:, :, 0] = shift
    wanted = ((across + shift) * torch.pi / 2).sin()
    inner = slice(12, -12)
    sharp = warp_sharply(with_half_pixels(wave), flow)[0, 0, 0, 4]
    assert torch.allclose(sharp[inner], wanted[inner], atol=0.06)
    assert (warp(wave, flow[:, 0])[0, 0, 4] - wanted)[inner].abs().max() > 0.15


@pytest.mark.parametrize(("frames", "height"), [(4, 32), (5, 40)])
def test_sizes_that_do_not_fit_are_refused(frames: int, height: int) -> None:
    with pytest.raises(ValueError, match="cannot be encoded"):
        tiny().encode(torch.zeros(1, 3, frames, height, 32), torch.zeros(1, 3, height, 32))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.sampled_from([1, 3, 5, 7]))
def test_smoothing_keeps_steady_motion(latent_frames: int, width: int) -> None:
    """Rest stays rest, and constant speed constant speed but near the ends; every video frame counts once."""
    speed = torch.arange(-FRAMES + 1.0, FRAMES * (latent_frames - 1) + 1).clamp_min(0)  # frame 0 four times
    z = speed.view(latent_frames, FRAMES).T[None, :, None, :, None, None].expand(1, -1, 2, -1, 2, 3).flatten(1, 2)
    assert torch.allclose(smooth_flow(torch.ones_like(z), width), torch.ones_like(z))
    smooth = smooth_flow(z, width).unflatten(1, (FRAMES, 2)).permute(0, 2, 4, 5, 3, 1).flatten(4)[..., FRAMES - 1 :]
    inner = slice(width // 2, smooth.shape[-1] - width // 2)
    assert torch.allclose(smooth[..., inner], speed[FRAMES - 1 :].expand_as(smooth)[..., inner], atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_what_is_drawn_between_cells_has_nearly_their_means(rows: int, columns: int, seed: int) -> None:
    """More nearly than lines between the means have; and a motion of the whole picture is that motion."""
    z = torch.randn(1, FLOW_CHANNELS, rows, columns, generator=torch.Generator().manual_seed(seed))
    drawn = F.avg_pool2d(coarse_flow(z).flatten(1, 2), CELL) / FLOW_UNIT
    plain = F.avg_pool2d(enlarge(z, CELL), CELL)
    assert (drawn - z).square().sum() <= 0.4 * (plain - z).square().sum() + 1e-9
    assert torch.allclose(coarse_flow(torch.ones(1, FLOW_CHANNELS, rows, columns)), torch.tensor(FLOW_UNIT))
