"""Teeth that stay where they are: geometry that must hold for any mouth, and mouths of the example photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from talkies.media.face_places import find_landmarks
from talkies.media.image import load_image
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_outlines import find_outlines
from talkies.models.face_painter import face_frames, inverse, transform
from talkies.models.motion_latents import CELL, MOTION_CHANNELS, PLACES
from talkies.models.teeth import COLUMNS, MOUTH, between_lips, mouths_of, teeth_known

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
FACE = torch.tensor([[40.0, 30.0], [70.0, 32.0], [55.0, 45.0], [45.0, 62.0], [66.0, 63.0]])


def smile(share: float = 1.0, tall: float = 5.0) -> Tensor:
    """A mouth that is open by `tall` units, of which teeth are the upper `share`: `[1, MOUTH]`, columns 36 to 60."""
    bend = torch.linspace(0, torch.pi, COLUMNS).sin()
    upper = torch.full((COLUMNS,), 54.0)
    lower = upper + tall * bend
    head = torch.tensor([36.0, 60.0, 1.0, -0.5, -0.7, -0.7])
    return torch.cat([head, upper, lower, upper + share * tall * bend])[None]


def places() -> Tensor:
    """Of the part of the square around the mouth, eight to a unit, `[1, 2, 240, 320]`."""
    y, x = torch.meshgrid(46 + torch.arange(240) / 8, 28 + torch.arange(320) / 8, indexing="ij")
    return torch.stack([x, y])[None]


def opened(by: float, mouth: Tensor, at: Tensor) -> Tensor:
    """Where places came from by skin that is stretched between lips `by` units further apart."""
    column = ((at[:, 0] - 36) / 24).clamp(0, 1)
    bend = (column * torch.pi).sin()
    tall = float((mouth[0, 6 + COLUMNS : 6 + 2 * COLUMNS] - mouth[0, 6 : 6 + COLUMNS]).max())
    inside = (at[:, 1] - 54) * tall / (tall + by)
    below = at[:, 1] - 54 - by * bend
    y = torch.where(at[:, 1] < 54, at[:, 1] - 54, torch.where(inside < tall * bend, inside, below))
    return torch.stack([at[:, 0], 54 + y], 1)


def test_a_mouth_that_does_nothing_shows_what_it_shows() -> None:
    for share in (0.3, 0.7, 1.0):
        at = places()
        between, seen, dark, _ = between_lips(smile(share), at, at)
        inside = between[:, 0] == 1
        assert inside.any()
        below_gums = inside & (at[:, 1] > 54 + 0.3 * 5)
        assert ((seen - at).abs().amax(1)[below_gums] < 1e-3).all()
        assert float(dark[between == 1].max()) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 12), st.floats(0.2, 1), st.floats(2.5, 9))
def test_teeth_keep_their_place_and_nothing_outside_lips_is_touched(by: float, share: float, tall: float) -> None:
    mouth, at = smile(share, tall), places()
    skin = opened(by, mouth, at)
    between, seen, dark, teeth = (part[0] for part in between_lips(mouth, at, skin))
    x, y = at[0]
    bend = (((x - 36) / 24).clamp(0, 1) * torch.pi).sin()
    assert not between[0][(y < 53) | (y > 54 + (tall + by) * bend + 1) | (x < 35) | (x > 61)].any()
    assert (between >= 0).all() and (between <= 1).all() and (dark >= 0).all() and (dark + teeth <= 1 + 1e-5).all()
    middle = (x - 48).abs() < 4
    in_teeth = (y - 54) / (share * tall * bend).clamp_min(1e-3)
    upper_half = middle & (in_teeth > 0.3) & (in_teeth < 0.45) & (between[0] == 1)
    assert ((seen[1] - y).abs()[upper_half] < 1e-3).all()  # no longer stretched
    assert (seen[1][(between[0] == 1) & middle] <= (54 + tall + 0.1)).all()  # never a lip between lips
    column = (x[0] - 48).abs().argmin()
    rows = between[0, :, column] == 1
    assert (seen[1, rows, column].diff() > -1e-3).all()  # nothing is seen twice


def test_below_teeth_that_reached_the_lip_it_is_dark_and_nowhere_else() -> None:
    at = places()
    for share, expected in ((1.0, True), (0.3, False)):
        mouth = smile(share)
        between, _, dark, _ = between_lips(mouth, at, opened(8.0, mouth, at))
        middle = (at[:, :1] - 48).abs() < 6
        assert bool((dark[(between == 1) & middle] > 0.9).any()) is expected


def test_lips_that_close_close_over_teeth() -> None:
    at, mouth = places(), smile()
    shut = at.clone()
    shut[:, 1] = torch.where(at[:, 1] > 54, 54 + (at[:, 1] - 54) * 10, at[:, 1])  # all of it in a tenth
    between, *_ = between_lips(mouth, at, shut)
    assert float(between[:, :, at[0, 1, :, 0] > 54.2].max()) == 0


@pytest.mark.parametrize(("name", "known"), [("photo-two", [True, True]), ("photo-single", [True])])
def test_teeth_are_found_in_open_mouths_of_photographs(name: str, known: list[bool]) -> None:
    path = EXAMPLES / name / "photo.png"
    if not path.exists():
        pytest.skip("the example photographs (../shared/examples) are not here")
    picture = load_image(path)
    points = torch.from_numpy(find_landmarks(picture))
    photo = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1
    mouths = mouths_of(photo, find_outlines(photo, points))
    assert mouths.shape == (len(points), MOUTH) and teeth_known(mouths).tolist() == known
    for face, mouth in zip(points, mouths, strict=True):
        corners = transform(face_frames(face)[None], face[3:, 0, None], face[3:, 1, None])[0, 0, :, 0]
        assert (mouth[:2].mean() - corners.mean()).abs() < 6
        upper, lower, end = mouth[6:].unflatten(0, (3, COLUMNS))
        assert (upper <= end + 1e-4).all() and (end <= lower + 1e-4).all() and 1.2 < (lower - upper).max() < 12


def test_what_is_no_face_shows_no_teeth_and_nothing_breaks() -> None:
    picture = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert mouths_of(picture, find_outlines(picture, torch.zeros(0, 5, 2))).shape == (0, MOUTH)
    mouths = mouths_of(picture, find_outlines(picture, torch.stack([torch.zeros(5, 2), FACE, FACE + 400])))
    assert mouths.isfinite().all() and not teeth_known(mouths)[0]


@torch.no_grad()
def test_the_codec_draws_what_is_between_lips_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    model = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    picture = torch.rand(1, 3, 6 * CELL, 7 * CELL) * 2 - 1
    z = torch.zeros(1, MOTION_CHANNELS + 2, 2, 6, 7)
    z[:, MOTION_CHANNELS - PLACES : MOTION_CHANNELS] = 1
    stretched = model.decode(z, picture, FACE[None, None]).sample
    film = model.decode(z, picture, FACE[None, None], mouths=smile()[None]).sample
    corners = transform(inverse(face_frames(FACE)[None]), *torch.tensor([[[34.0, 62.0]], [[52.0, 62.0]]]))[0, :, 0]
    (left, top), (right, bottom) = corners.T.round().int().tolist()
    changed = (film - stretched)[0].abs().amax((0, 1)) > 1e-3
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()
    nothing = model.decode(z, picture, FACE[None, None], mouths=torch.zeros(1, 1, MOUTH)).sample
    assert torch.equal(nothing, stretched)
