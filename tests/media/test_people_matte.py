"""How much of every pixel is people: on the example photographs, and what must hold for any picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from talkies.media import convolutions
from talkies.media.face_places import find_landmarks
from talkies.media.image import load_image
from talkies.media.people import find_faces
from talkies.media.people_matte import guided_filter, people_matte

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
DUO = Path(__file__).parents[2] / "examples" / "duo" / "photo.png"
needs_photos = pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here"
)


@needs_photos
@pytest.mark.parametrize("name", ["photo-two", "photo-single"])
def test_faces_of_photographs_are_people_and_the_corners_above_are_not(name: str) -> None:
    picture = load_image(EXAMPLES / name / "photo.png").resize((1280, 720))
    matte = people_matte(picture, find_landmarks(picture))
    assert matte.shape == (720, 1280) and matte.dtype == np.float32
    for face in find_faces(picture):
        x, y = (round(v) for v in face.centre)
        reach = round(face.width / 4)
        assert matte[y - reach : y + reach, x - reach : x + reach].min() > 0.95
    assert matte[:40, :100].max() < 0.2


@needs_photos
def test_a_head_rest_behind_a_head_is_not_people() -> None:
    """Looked at as a whole, the picture leaves most of it to the man: his head is looked at once more."""
    picture = load_image(EXAMPLES / "photo-two" / "photo.png").resize((1280, 720))
    rest = np.s_[285:340, 75:160]
    nobody = np.zeros((0, 5, 2), np.float32)
    assert people_matte(picture, nobody)[rest].mean() > 0.3
    assert people_matte(picture, find_landmarks(picture))[rest].mean() < 0.1


def test_people_of_the_stage_are_found_too() -> None:
    picture = load_image(DUO)
    matte = people_matte(picture, find_landmarks(picture))
    assert 0.1 < matte.mean() < 0.8
    for face in find_faces(picture):
        x, y = (round(v) for v in face.centre)
        assert matte[y, x] > 0.95


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 100))
def test_any_size_and_faces_at_its_edge(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    faces = rng.uniform(-20, 320, (2, 5, 2)).astype(np.float32)
    matte = people_matte(picture, faces)
    assert matte.shape == (height, width) and np.isfinite(matte).all()
    assert matte.min() >= 0 and matte.max() <= 1


def test_the_filter_follows_edges_of_the_picture_and_keeps_flat_mattes() -> None:
    guide = np.zeros((40, 60, 3), np.float32)
    guide[:, 30:] = 1
    blurred = np.clip((np.arange(60) - 20) / 20, 0, 1).astype(np.float32) * np.ones((40, 1), np.float32)
    slopes, offsets = guided_filter(guide, blurred, 6, 1e-4)
    sharp = (guide * slopes).sum(-1) + offsets
    assert np.diff(sharp, axis=1)[:, 29].min() > 0.3 > np.diff(blurred, axis=1).max() * 5
    slopes, offsets = guided_filter(
        np.random.default_rng(0).random((9, 7, 3), np.float32), np.full((9, 7), 0.3), 2, 0.01
    )
    assert np.allclose(slopes, 0, atol=1e-6) and np.allclose(offsets, 0.3, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 5]), st.sampled_from([1, 2]))
def test_convolutions_are_torchs(channels: int, rows: int, columns: int, side: int, stride: int) -> None:
    rng = np.random.default_rng([channels, rows, columns])

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x = random(channels, 2 * rows, 2 * columns)
    weights = {
        "alone.weight": random(channels, 1, side, side),
        "alone.bias": random(channels),
        "all.weight": random(4, channels, 3, 3),
        "all.bias": random(4),
        "up.weight": random(channels, 2, 2, 2),
        "up.bias": random(2),
    }
    told = {name: torch.from_numpy(value) for name, value in weights.items()}
    picture, before = torch.from_numpy(x), (side - stride) // 2

    def around(first: int, length: int) -> torch.Tensor:
        return F.pad(picture, (first, length - 1 - first) * 2)

    pairs = [
        (
            convolutions.depthwise(x, weights, "alone", stride, before),
            F.conv2d(around(before, side), told["alone.weight"], told["alone.bias"], stride, groups=channels),
        ),
        (
            convolutions.dense(x, weights, "all", stride, before=2 - stride),
            F.conv2d(around(2 - stride, 3), told["all.weight"], told["all.bias"], stride),
        ),
        (convolutions.transposed(x, weights, "up"), F.conv_transpose2d(picture, told["up.weight"], told["up.bias"], 2)),
        (
            convolutions.doubled(x),
            F.interpolate(picture[None], scale_factor=2, mode="bilinear", align_corners=False)[0],
        ),
        (convolutions.hard_swish(x), F.hardswish(picture)),
        (convolutions.sigmoid(x * 100), (picture * 100).sigmoid()),
    ]
    for ours, theirs in pairs:
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-4, rtol=1e-4)
