"""Backgrounds, arrangements and filmed scenes."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage_people import performance
from talkies.domain.errors import InputError
from talkies.stage.background import KINDS, Background
from talkies.stage.figure import Figure
from talkies.stage.identity import Identity
from talkies.stage.light import SETUPS
from talkies.stage.renderer import Actor
from talkies.stage.scene import Scene, arrange, shoot


@pytest.mark.parametrize("kind", KINDS)
def test_backgrounds_are_repeatable_and_properly_exposed(kind: str) -> None:
    one = Background.sample(np.random.default_rng(4), 48, 80, kind)
    two = Background.sample(np.random.default_rng(4), 48, 80, kind)
    assert one.picture.shape == (48, 80, 3)
    assert np.array_equal(one.picture, two.picture)
    assert 8 < one.picture.mean() < 200
    assert (one.picture == 255).mean() < 0.05


@given(people=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_everyone_has_a_place_from_left_to_right(people: int, seed: int) -> None:
    layout = arrange(people, "head and shoulders", 192, 160 * people, np.random.default_rng(seed))
    x = [place.position[0] for place in layout.placements]
    assert x == sorted(x)
    for i in range(people):
        assert layout.direction(i, None) == -layout.placements[i].yaw
        for j in range(people):
            if i != j:  # partners are on their side
                world = layout.direction(i, j) + layout.placements[i].yaw
                assert np.sign(world) == np.sign(j - i)


def test_crowds_are_refused() -> None:
    with pytest.raises(InputError, match="5 people"):
        arrange(5, "close-up", 192, 320, np.random.default_rng(0))


@lru_cache(maxsize=4)
def figure(seed: int) -> Figure:
    return Figure.build(Identity.sample(seed), texture=128)


@pytest.mark.usefixtures("body_data")
def test_scenes_show_everyone_where_the_labels_say() -> None:
    layout = arrange(3, "head and shoulders", 96, 240, np.random.default_rng(2))
    motion = performance(jawOpen=0.3)
    actors = tuple(Actor(figure(k), motion, place) for k, place in enumerate(layout.placements))
    background = Background.sample(np.random.default_rng(0), 96, 240, "wall")
    take = shoot(Scene(actors, layout.camera, SETUPS[0], background))
    assert take.frames.shape == (1, 96, 240, 3)
    assert set(np.unique(take.masks)) == {0, 1, 2, 3}
    near = cv2.dilate((take.masks[0] > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    assert (take.frames[0] == background.picture)[near == 0].all()  # people end softly, within two pixels
    for k, truth in enumerate(take.truths):
        x, y = truth.points[0, 2].astype(int)
        assert take.masks[0, y, x] == k + 1


@pytest.mark.usefixtures("body_data")
def test_unequal_performances_are_refused() -> None:
    layout = arrange(2, "close-up", 96, 160, np.random.default_rng(0))
    short, long = performance(), performance()
    long = type(long)(25.0, np.zeros((2, 52), np.float32), np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32))
    actors = tuple(Actor(figure(0), m, p) for m, p in zip((short, long), layout.placements, strict=True))
    background = Background.sample(np.random.default_rng(0), 96, 160, "wall")
    with pytest.raises(InputError, match="2 people"):
        shoot(Scene(actors, layout.camera, SETUPS[0], background))
