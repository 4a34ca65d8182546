"""Flow of performers whose vertices are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.training.exact_flow import face_flow, in_sight

SIDE = 96


def performer(shift: tuple[float, float], turn: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A patch of noise that is moved, before a still ground: film frame `[3, S, S]`, vertices `[V, 3]`, coverage."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 3.0)
    skin = cv2.GaussianBlur(rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.5) * 2
    cover = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(cover, (48, 44), (20, 26), 0, 0, 360, 1.0, -1)
    affine = cv2.getRotationMatrix2D((48, 44), turn, 1.0)
    affine[:, 2] += shift
    moved, coverage = (cv2.warpAffine(part, affine, (SIDE, SIDE)) for part in (skin, cover))
    y, x = (axis.ravel() for axis in np.mgrid[24:66:2, 34:64:2].astype(np.float32))
    places = np.stack([x, y, np.ones_like(x)], 1) @ affine.T + 0.5  # the middle of a pixel is at one half
    vertices = np.concatenate([places, np.full((len(x), 1), 10.0)], 1).astype(np.float32)
    return np.repeat((moved * coverage + ground * (1 - coverage))[None], 3, 0), vertices, coverage


@settings(max_examples=20, deadline=None)
@given(x=st.floats(-15, 15), y=st.floats(-12, 12), turn=st.floats(-15, 15))
def test_the_flow_of_a_face_is_that_of_its_vertices(x: float, y: float, turn: float) -> None:
    still, at_rest, _ = performer((0, 0))
    frame, vertices, coverage = performer((x, y), turn)
    flow = face_flow(frame[None], still, vertices[None], at_rest, coverage[None])[0]
    inside = vertices[(np.abs(at_rest[:, 0] - 48) < 10) & (np.abs(at_rest[:, 1] - 44) < 14), :2]
    expected = at_rest[(np.abs(at_rest[:, 0] - 48) < 10) & (np.abs(at_rest[:, 1] - 44) < 14), :2] - inside
    column, row = inside.astype(int).T
    found = flow[:, row.clip(0, SIDE - 1), column.clip(0, SIDE - 1)].T
    assert np.abs(found - expected).mean() < 0.35


def test_a_frame_that_is_the_reference_does_not_move_and_the_ground_stays() -> None:
    still, at_rest, coverage = performer((0, 0))
    assert not face_flow(still[None], still, at_rest[None], at_rest, coverage[None]).any()
    frame, vertices, coverage = performer((6, -4))
    flow = face_flow(frame[None], still, vertices[None], at_rest, coverage[None])[0]
    assert np.abs(flow[:, :10]).mean() < 0.3 and np.abs(flow[:, -10:]).mean() < 0.3


def test_what_is_behind_is_out_of_sight() -> None:
    near = np.array([[x, y, 10.0] for x in range(0, 20, 2) for y in range(0, 20, 2)])
    far = near + np.array([0, 0, 1.0])
    seen = in_sight(np.concatenate([far, near]))
    assert not seen[: len(far)].any() and seen[len(far) :].all()


@pytest.mark.parametrize("count", [1, 5])
def test_few_vertices_are_all_believed(count: int) -> None:
    assert in_sight(np.arange(3.0 * count).reshape(count, 3)).all()
