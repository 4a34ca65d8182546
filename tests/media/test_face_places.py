"""Shares of mouth and eyes in the cells of a coarse grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from talkies.media.face_places import all_places, face_places, find_landmarks


@settings(max_examples=40, deadline=None)
@given(st.floats(-20, 120), st.floats(-20, 120), st.floats(4, 60), st.floats(-0.6, 0.6))
def test_areas_are_those_of_the_boxes(x: float, y: float, length: float, lean: float) -> None:
    """On a grid that holds them whole, the shares add up to the area of the boxes, wherever they lie."""
    eyes = np.array([[x + 200, y + 200]])
    mouth = eyes + np.array([[lean * length, length * np.sqrt(1 - lean**2)]])
    places = face_places(eyes, mouth, 32, 32, 16)
    assert places.shape == (1, 2, 32, 32) and places.min() >= 0 and places.max() <= 1
    assert np.allclose(places.sum((2, 3)) * 256, length**2 * np.array([1.2 * 0.96, 1.6 * 0.68]), rtol=1e-4)


def test_a_face_outside_covers_nothing() -> None:
    assert not face_places(np.array([[-500.0, 0]]), np.array([[-500.0, 40]]), 4, 4, 16).any()


def test_no_face_no_place() -> None:
    points = find_landmarks(Image.new("RGB", (64, 48), "grey"))
    assert points.shape == (0, 5, 2)
    assert all_places(points, 3, 4, 16).shape == (2, 3, 4) and not all_places(points, 3, 4, 16).any()
