"""Faces in squares of their own: geometry that must hold whatever the network has learnt."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from talkies.domain.expression import BLINK, EYES_SHUT
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_painter import MOUTH, UNIT, face_frames, grid, head_motion, inverse, leaning, transform
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES, MOTION_CHANNELS

FACE = torch.tensor([[40.0, 30.0], [70.0, 32.0], [55.0, 45.0], [45.0, 62.0], [66.0, 63.0]])
PLACES = FLOW_CHANNELS + FRAMES * EXPRESSIONS


def painted(seed: int = 0) -> AutoencoderReference:
    """One whose flow fields and network do something."""
    torch.manual_seed(seed)
    model = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    smooth = F.interpolate(torch.randn(len(model.painter.basis), 2, 6, 6), size=96, mode="bicubic")
    model.painter.basis.data.copy_(smooth)
    for part in (model.painter.mouth, model.painter.eyes):
        part.out.bias.data[14:] += 3
    return model


def speaking(rows: int, columns: int) -> Tensor:
    """Latents that say: there is a face everywhere, and it does something."""
    z = torch.zeros(1, MOTION_CHANNELS + 2, rows, columns)
    z[:, FLOW_CHANNELS:PLACES] = torch.randn(1, PLACES - FLOW_CHANNELS, 1, 1)
    z[:, PLACES:MOTION_CHANNELS] = 1
    return z


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_eyes_and_mouth_lie_where_they_should(seed: int) -> None:
    points = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(seed)) * 50
    points[:, 3:, 1] += 60
    frames = face_frames(points)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    for place, (x, y) in ((mouth, MOUTH), (eyes, (MOUTH[0], MOUTH[1] - UNIT))):
        there = transform(frames, place[:, :1, None], place[:, 1:, None])[:, :, 0, 0]
        assert torch.allclose(there, torch.tensor([x, y]).expand_as(there), atol=1e-3)
    back = transform(inverse(frames), there[:, :1, None], there[:, 1:, None])[:, :, 0, 0]
    assert torch.allclose(back, eyes, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.95, 1.05), st.floats(-0.04, 0.04), st.floats(-3, 3), st.integers(0, 1000))
def test_the_heads_motion_is_found_and_nothing_beside_it(scale: float, shear: float, shift: float, seed: int) -> None:
    motion = torch.tensor([[[scale, shear, shift], [-shear, 2 - scale, -shift]]])
    x, y = (v * 16 for v in grid(8, 9, motion))
    flow = transform(motion, x, y) - torch.stack([x, y])
    weight = torch.rand(1, 8, 9, generator=torch.Generator().manual_seed(seed)) + 0.01
    found = head_motion(flow, weight, 16, stiffness=0.0)
    assert torch.allclose(found, motion, atol=2e-3)
    assert leaning(flow, motion, face_frames(FACE[None] + 16), 16).abs().max() < 1e-2


@torch.no_grad()
def test_latents_that_speak_of_no_face_leave_the_picture_alone() -> None:
    model, picture = painted(), torch.rand(1, 3, 96, 112) * 2 - 1
    z = torch.zeros(1, MOTION_CHANNELS + 2, 6, 7)
    for points in (FACE[None, None], torch.zeros(1, 1, 5, 2)):
        assert torch.allclose(model.decode_groups(z, picture, points)[0][0, 2], picture[0], atol=1e-3)
    assert torch.allclose(
        model.decode_groups(speaking(6, 7), picture, torch.zeros(1, 1, 5, 2))[0][0, 2], picture[0], atol=1e-3
    )
    assert not torch.allclose(
        model.decode_groups(speaking(6, 7), picture, FACE[None, None])[0][0, 2], picture[0], atol=0.1
    )


@torch.no_grad()
def test_two_faces_are_drawn_as_each_alone() -> None:
    model = painted()
    picture = torch.rand(1, 3, 96, 320) * 2 - 1
    left, right = FACE, FACE + torch.tensor([180.0, 0.0])
    z = speaking(6, 20)
    both = model.decode_groups(z, picture, torch.stack([left, right])[None])[0]
    alone = [model.decode_groups(z, picture, face[None, None])[0] for face in (left, right)]
    assert torch.allclose(both[..., :140], alone[0][..., :140], atol=1e-4)
    assert torch.allclose(both[..., 180:], alone[1][..., 180:], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("factor", [2, 3])
def test_a_larger_picture_of_a_face_does_the_same(factor: int) -> None:
    """Nothing depends on how many pixels a face has: flow grows with the picture."""
    model = painted()
    picture = F.interpolate(torch.rand(1, 3, 12, 14) * 2 - 1, size=(96, 112), mode="bicubic")
    large = F.interpolate(picture, scale_factor=factor, mode="bilinear", align_corners=False)
    z = speaking(6, 7)
    flow = model.decode_groups(z, picture, FACE[None, None])[1]
    enlarged = model.decode_groups(
        z.repeat_interleave(factor, 2).repeat_interleave(factor, 3), large, FACE[None, None] * factor
    )[1]
    small = F.avg_pool2d(enlarged.flatten(0, 1), factor).unflatten(0, (1, FRAMES)) / factor
    assert float((small - flow).abs().mean()) < 0.15 * float(flow.abs().mean())


@torch.no_grad()
def test_blinks_take_the_place_of_what_latents_say_of_lids() -> None:
    model, picture = painted(), torch.rand(1, 3, 96, 112) * 2 - 1
    z, shut = speaking(6, 7), torch.tensor([[[0.0, 0.3, 1.0, 0.5]]])
    told = z.clone()
    told[:, FLOW_CHANNELS + BLINK : PLACES : EXPRESSIONS] = EYES_SHUT * shut[0, :, :, None, None]
    blinking, _ = model.decode_groups(z, picture, FACE[None, None], blinks=shut)
    assert torch.allclose(blinking, model.decode_groups(told, picture, FACE[None, None])[0], atol=1e-4)
    assert not torch.allclose(blinking, model.decode_groups(z, picture, FACE[None, None])[0], atol=1e-2)


@torch.no_grad()
def test_a_film_blinks_frame_by_frame() -> None:
    model, picture = painted(), torch.rand(1, 3, 96, 112) * 2 - 1
    z = speaking(6, 7)[:, :, None].repeat(1, 1, 3, 1, 1)
    z[:, FLOW_CHANNELS:PLACES] = z[:, FLOW_CHANNELS : FLOW_CHANNELS + EXPRESSIONS].repeat(1, FRAMES, 1, 1, 1)
    shut = torch.rand(1, 1, 9)
    film = model.decode(z, picture, FACE[None, None], shut).sample
    for frame in (0, 1, 4, 5, 8):
        alone = model.decode(z[:, :, :1], picture, FACE[None, None], shut[:, :, frame : frame + 1]).sample
        assert torch.allclose(film[:, :, frame], alone[:, :, 0], atol=1e-4)
