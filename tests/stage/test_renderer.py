"""Figures and pictures: what is drawn agrees with what is said about it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from stage_people import performance
from talkies.domain.errors import InputError
from talkies.stage import wardrobe
from talkies.stage.camera import Camera
from talkies.stage.figure import Figure
from talkies.stage.identity import Identity
from talkies.stage.light import SETUPS
from talkies.stage.performance import Performance
from talkies.stage.renderer import Placement, Renderer, measure, render

pytestmark = pytest.mark.usefixtures("body_data")
CAMERA = Camera.framing((0.0, 0.2, 0.0), 3.4)
SIZE = (96, 96)


@lru_cache(maxsize=2)
def figure(seed: int = 5) -> Figure:
    return Figure.build(Identity.sample(seed), texture=128)


def shown(motion: Performance, **where: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    frames, truth, _ = render(figure(), motion, CAMERA, SETUPS[0], SIZE, Placement(yaw=where.get("yaw", 0.0)))
    return frames[0], {name: value[0] for name, value in truth.arrays().items()}


def test_a_person_fills_the_picture_and_nothing_else() -> None:
    picture, truth = shown(performance())
    cover = picture[..., 3]
    assert (cover[0] == 0).all()
    assert cover[60, 48] == 255
    x0, y0, x1, y1 = truth["face_box"]
    assert (cover[int(y0) + 2 : int(y1) - 2, int(x0 + x1) // 2] == 255).all()
    assert picture[cover == 255][:, :3].std() > 10


def test_mouths_open_as_measured() -> None:
    _, closed = shown(performance())
    picture, wide = shown(performance(jawOpen=0.8, mouthLowerDownLeft=0.3, mouthLowerDownRight=0.3))
    assert closed["lip_opening"] < 0.5
    assert wide["lip_opening"] > 4
    x0, y0, x1, y1 = wide["mouth_box"]
    inside = picture[int(y0 + y1) // 2 - 1 : int(y0 + y1) // 2 + 2, int(x0 + x1) // 2, :3].astype(int)
    lip = picture[int(y1) - 1, int(x0 + x1) // 2, :3].astype(int)
    assert inside.sum(1).min() < lip.sum()  # darker inside than on the lip


def test_closing_the_lips_over_a_lowered_jaw() -> None:
    _, truth = shown(performance(jawOpen=0.3, mouthClose=0.3))
    assert truth["lip_opening"] < 0.6


def test_blinks_close_the_eyes() -> None:
    _, awake = shown(performance())
    _, asleep = shown(performance(eyeBlinkLeft=1.0, eyeBlinkRight=1.0))
    _, wink = shown(performance(eyeBlinkLeft=1.0))
    assert (awake["eye_opening"] > 1).all()
    assert (asleep["eye_opening"] < 0.4).all()
    assert wink["eye_opening"][0] < 0.4 < wink["eye_opening"][1]


@pytest.mark.parametrize(("axis", "angle"), [(0, 25.0), (1, 15.0), (2, 12.0)])
def test_head_turns_follow_the_convention(axis: int, angle: float) -> None:
    motion = performance()
    motion.head[0, axis] = angle
    _, still = shown(performance())
    _, turned = shown(motion)
    change = turned["head_pose"] - still["head_pose"]
    assert change[axis] == pytest.approx(angle, abs=1.5)
    nose, rest = turned["points"][2], still["points"][2]
    if axis == 0:
        assert nose[0] > rest[0] + 3  # to the viewer's right
    if axis == 1:
        assert nose[1] < rest[1] - 2  # up
    if axis == 2:
        crown = turned["points"][:2].mean(0) - turned["points"][7]
        assert crown[0] > 2  # the crown to the viewer's right


def test_placement_moves_the_head_joint() -> None:
    motion = performance()
    a = figure().pose(motion, 0)
    b = figure().pose(motion, 0, (1.0, -0.5, 0.2))
    np.testing.assert_allclose(b.points - a.points, np.broadcast_to([1.0, -0.5, 0.2], a.points.shape), atol=1e-4)


def test_same_seed_same_picture() -> None:
    one, _ = shown(performance(jawOpen=0.4))
    again = Figure.build(Identity.sample(5), texture=128)
    two, _, _ = render(again, performance(jawOpen=0.4), CAMERA, SETUPS[0], SIZE)
    assert np.array_equal(one, two[0])


def test_people_hide_each_other_by_distance() -> None:
    motion = performance()
    renderer = Renderer(*SIZE)
    front = figure().pose(motion, 0, (0.0, 0.0, 2.0))
    back = figure().pose(motion, 0, (0.3, 0.0, -2.0))
    _, people = renderer.draw([(figure(), back), (figure(), front)], CAMERA, SETUPS[0])
    truth = measure(figure(), front, CAMERA, SIZE)
    x, y = truth["points"][2].astype(int)
    assert people[y, x] == 2
    assert set(np.unique(people)) <= {0, 1, 2}


def test_shadows_only_darken() -> None:
    motion = performance()
    lit = replace(SETUPS[0], shadows=False)
    bright, _, _ = render(figure(), motion, CAMERA, lit, SIZE)
    dark, _, _ = render(figure(), motion, CAMERA, SETUPS[0], SIZE)
    solid = bright[0, ..., 3] == 255
    difference = bright[0, ..., :3].astype(int) - dark[0, ..., :3]
    assert difference[solid].min() >= -1
    assert difference[solid].mean() > 0.3


def test_premultiplied_frames_are_ready_for_compositing() -> None:
    straight, _, _ = render(figure(), performance(), CAMERA, SETUPS[0], SIZE)
    ready, _, _ = render(figure(), performance(), CAMERA, SETUPS[0], SIZE, premultiplied=True)
    alpha = straight[..., 3:].astype(float) / 255
    assert np.abs(ready[..., :3] - straight[..., :3] * alpha).max() <= 1
    assert np.array_equal(ready[..., 3], straight[..., 3])


def test_asset_packs_dress_people(pack: Path) -> None:
    dressed = Figure.build(Identity.sample(5), pack, texture=128)
    assert len(dressed.triangles) != len(figure().triangles)
    frames, _, _ = render(dressed, performance(), CAMERA, SETUPS[0], SIZE)
    assert frames[0, 60, 48, 3] == 255


def test_a_folder_that_is_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No hair/NAME/NAME.mhclo"):
        Figure.build(Identity.sample(5), tmp_path, texture=128)


def test_the_top_comes_before_the_trousers() -> None:
    """Captions name the first colour: that of what is worn on the chest, however many triangles the trousers have."""
    heights = np.array([0.0, 0.4, 0.8, 1.2, 1.6, 5.0, 5.5, 6.0])
    reference = np.stack([np.zeros(8), heights, np.zeros(8)], axis=1)
    trousers, top = [[0, 1, 2], [1, 2, 3], [2, 3, 4]], [[5, 6, 7]]
    faces = np.repeat(np.array(trousers + top)[:, :, None], 2, axis=2)
    pieces = wardrobe._pieces(faces, reference, apart=False)
    assert [len(piece) for piece in pieces] == [1, 3]
