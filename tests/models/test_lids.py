"""Lids that fall: geometry that must hold for any eye, and eyes of the example photographs."""

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
from talkies.models.face_painter import face_frames, inverse, joined, transform
from talkies.models.lids import COLUMNS, LIDS, gaze_shift, lid_shift, lids_known, lids_of
from talkies.models.motion_latents import CELL, FRAMES, MOTION_CHANNELS, PLACES

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
DUO = Path(__file__).parents[2] / "examples" / "duo" / "photo.png"
FACE = torch.tensor([[40.0, 30.0], [70.0, 32.0], [55.0, 45.0], [45.0, 62.0], [66.0, 63.0]])


def eyes(seed: int, believed: float = 1.0) -> Tensor:
    """Any two eyes of one face, `[1, 2, LIDS]`, in columns 20 to 36 and 60 to 76 of the square."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for left in (20.0, 60.0):
        bend = torch.linspace(0, torch.pi, COLUMNS).sin()
        fold, above, opening = torch.rand(3, generator=generator) * torch.tensor([5.0, 3.0, 6.0]) + 0.5
        upper = 24 - above * bend
        head = torch.tensor([left, left + 16, float(fold), believed])
        rows.append(torch.cat([head, upper, upper + opening * bend]))
    return torch.stack(rows)[None]


def square() -> Tensor:
    """Places of the square, four to a unit, `[1, 2, 160, 384]`."""
    y, x = torch.meshgrid(torch.arange(160) / 4 + 0.1, torch.arange(384) / 4 + 0.1, indexing="ij")
    return torch.stack([x, y])[None]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_lids_only_fall_never_fold_and_touch_nothing_else(seed: int, shut: float) -> None:
    lids, places = eyes(seed), square()
    shift = lid_shift(lids, torch.tensor([shut]), places)
    assert (shift <= 1e-4).all()
    moved = shift[0, 0] < -1e-3
    columns = moved.any(0).nonzero()[:, 0] / 4
    assert ((columns > 19) & (columns < 37) | (columns > 59) & (columns < 77)).all()
    seen = places[0, 1] + shift[0, 0]
    for column in moved.any(0).nonzero()[:, 0].tolist():
        rows = moved[:, column].nonzero()[:, 0]
        assert (rows.diff() == 1).all() and (seen[rows, column].diff() > -1e-4).all()
        assert seen[rows[0], column] >= places[0, 1, rows[0], column] - float(lids[0, :, 2].max()) - 1
    assert not lid_shift(lids, torch.zeros(1), places).any()
    assert not lid_shift(eyes(seed, believed=0.0), torch.tensor([shut]), places).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, COLUMNS - 2))
def test_of_a_shut_eye_the_lower_lid_meets_the_edge_of_the_upper(seed: int, column: int) -> None:
    lids = eyes(seed)
    eye = lids[0, 0]
    x = eye[0] + column / (COLUMNS - 1) * (eye[1] - eye[0])
    upper, lower = eye[4 + column], eye[4 + COLUMNS + column]
    just_above = torch.stack([x, lower - 0.01]).view(1, 2, 1, 1)
    seen = just_above[0, 1] + lid_shift(lids, torch.ones(1), just_above)[0, 0]
    assert abs(float(seen - upper)) < 0.1
    below = torch.stack([x, lower + 0.01]).view(1, 2, 1, 1)
    assert not lid_shift(lids, torch.ones(1), below).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-12, 12), st.floats(-5, 5))
def test_eyes_turn_between_their_lids_never_fold_and_touch_nothing_else(seed: int, right: float, down: float) -> None:
    lids, places = eyes(seed), square()
    shift = gaze_shift(lids, torch.tensor([[right, down]]), places)[0]
    x, y = places[0]
    moved = shift.abs().amax(0) > 1e-4
    for left in (20.0, 60.0):
        eye = lids[0, 0 if left == 20.0 else 1]
        inside = (x > left) & (x < left + 16) & (y > eye[4 : 4 + COLUMNS].min()) & (y < eye[4 + COLUMNS :].max())
        moved &= ~inside
    assert not moved.any()
    for eye in lids[0]:  # along the middle between lids nothing is seen twice from left to right
        along = eye[0] + torch.linspace(0, 1, COLUMNS) * (eye[1] - eye[0])
        upper, lower = eye[4:].unflatten(0, (2, COLUMNS))
        middle = torch.stack([along, upper + (lower - upper) / 2.7]).view(1, 2, 1, COLUMNS)
        assert ((along + gaze_shift(lids, torch.tensor([[right, down]]), middle)[0, 0, 0]).diff() > 0).all()
    assert (shift[0] * right <= 1e-6).all() and (shift[1] * down <= 1e-6).all()
    assert shift[0].abs().max() <= 0.4 * 16 * abs(np.sin(np.deg2rad(right))) + 1e-4
    assert not gaze_shift(eyes(seed, believed=0.0), torch.tensor([[right, down]]), places).any()


def test_the_middle_of_an_open_eye_moves_as_far_as_an_eyeball_turns_and_narrow_eyes_not_at_all() -> None:
    bend = torch.linspace(0, torch.pi, COLUMNS).sin()

    def turned(opening: float) -> float:
        eye = torch.cat([torch.tensor([20.0, 36.0, 4.0, 1.0]), 24 - bend, 24 - bend + opening * bend])
        middle = torch.tensor([28.0, 23 + opening / 2 / 1.35]).view(1, 2, 1, 1)
        return float(gaze_shift(torch.stack([eye, 0 * eye])[None], torch.tensor([[10.0, 0.0]]), middle)[0, 0])

    assert turned(8.0) == pytest.approx(-0.4 * 16 * np.sin(np.deg2rad(10)), rel=1e-3)
    assert turned(1.5) == 0


@pytest.mark.parametrize("name", ["photo-two", "photo-single", "duo"])
def test_lids_are_found_around_the_eyes_of_pictures(name: str) -> None:
    path = DUO if name == "duo" else EXAMPLES / name / "photo.png"
    if not path.exists():
        pytest.skip("the example photographs (../shared/examples) are not here")
    picture = load_image(path)
    points = torch.from_numpy(find_landmarks(picture))
    lids = lids_of(find_outlines(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1, points))
    assert lids.shape == (len(points), 2, LIDS) and lids_known(lids).all()
    for face, pair in zip(points, lids, strict=True):
        detected = transform(face_frames(face)[None], face[:2, 0, None], face[:2, 1, None])[0, :, :, 0].T
        for at, eye in zip(detected, pair, strict=True):
            if eye[3]:
                assert eye[0] - 3 < at[0] < eye[1] + 3 and 6 < eye[1] - eye[0] < 20
                assert 1 < (eye[4 + COLUMNS :] - eye[4 : 4 + COLUMNS]).max() < 10


def test_what_is_no_face_has_no_lids_and_nothing_breaks() -> None:
    picture = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert lids_of(find_outlines(picture, torch.zeros(0, 5, 2))).shape == (0, 2, LIDS)
    lids = lids_of(find_outlines(picture, torch.stack([torch.zeros(5, 2), FACE, FACE + 400])))
    assert lids.isfinite().all() and not lids_known(lids)[0]


@torch.no_grad()
def test_the_codec_shuts_eyes_by_their_lids_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    model = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    picture = torch.rand(1, 3, 6 * CELL, 7 * CELL) * 2 - 1
    z = torch.zeros(1, MOTION_CHANNELS + 2, 2, 6, 7)
    z[:, MOTION_CHANNELS - PLACES : MOTION_CHANNELS] = 1
    shut = torch.zeros(1, 1, 1 + FRAMES)
    shut[..., 3] = 1
    lids = eyes(3)[None]
    film = model.decode(z, picture, FACE[None, None], shut, lids=lids).sample
    still = model.decode(z, picture, FACE[None, None], 0 * shut, lids=lids).sample
    assert torch.equal(film[:, :, [0, 1, 2, 4]], still[:, :, [0, 1, 2, 4]])
    corners = transform(inverse(face_frames(FACE)[None]), *torch.tensor([[[18.0, 78.0]], [[14.0, 32.0]]]))[0, :, 0]
    (left, top), (right, bottom) = corners.T.round().int().tolist()
    changed = (film - still)[0, :, 3].abs().amax(0) > 1e-3
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()
    painted = model.decode(z, picture, FACE[None, None], shut).sample
    assert not torch.allclose(film[:, :, 3], painted[:, :, 3], atol=0.02)


@torch.no_grad()
def test_the_codec_turns_eyes_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    model = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    picture = torch.rand(1, 3, 6 * CELL, 7 * CELL) * 2 - 1
    z = torch.zeros(1, MOTION_CHANNELS + 2, 2, 6, 7)
    z[:, MOTION_CHANNELS - PLACES : MOTION_CHANNELS] = 1
    gaze = torch.zeros(1, 1, 1 + FRAMES, 2)
    gaze[..., 2, 0] = 10
    lids = eyes(3)[None]
    lids[..., 4 + COLUMNS :] = lids[..., 4 : 4 + COLUMNS] + 8 * torch.linspace(0, torch.pi, COLUMNS).sin()  # wide open
    film = model.decode(z, picture, FACE[None, None], lids=lids, gaze=gaze).sample
    still = model.decode(z, picture, FACE[None, None], lids=lids).sample
    assert torch.equal(film[:, :, [0, 1, 3, 4]], still[:, :, [0, 1, 3, 4]])
    changed = (film - still)[0, :, 2].abs().amax(0) > 1e-3
    corners = transform(inverse(face_frames(FACE)[None]), *torch.tensor([[[18.0, 78.0]], [[14.0, 32.0]]]))[0, :, 0]
    (left, top), (right, bottom) = corners.T.round().int().tolist()
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()


def test_affine_maps_one_after_the_other() -> None:
    first, then = torch.randn(2, 4, 2, 3, generator=torch.Generator().manual_seed(1))
    x, y = torch.randn(2, 5, 3)
    once = transform(first, x, y)
    assert torch.allclose(transform(joined(first, then), x, y), transform(then, once[:, 0], once[:, 1]), atol=1e-4)
