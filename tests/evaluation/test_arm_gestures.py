"""Gestures of arms: seen around the face they belong to, by what moves and changes there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.body_regions import DROP, SIDE, SIZE, cut_bodies, squares
from talkies.evaluation.faces import ArrayVideo
from talkies.evaluation.fitting.arms import ArmsRecipe, fit_arms
from talkies.evaluation.fitting.bodies import cut_set
from talkies.evaluation.metrics.prompt import PROMPT_ARMS
from talkies.evaluation.networks import arm_gestures
from talkies.evaluation.networks.arm_gestures import ACROSS, CELLS, NUMBERS, ArmGestures, body_motion
from talkies.evaluation.sample import AskedGesture, Observation, Person, Sample
from talkies.evaluation.seen_gestures import SeenGesture, arm_probabilities
from talkies.media.shards import clip_members, write_shard
from talkies.stage.gestures import ARM_GESTURES, GESTURES

HEIGHT, WIDTH, UNIT = 96, 160, 8


def points(x: float, y: float, count: int, unit: float = UNIT) -> NDArray[np.float64]:
    """Labels `[F, 8, 2]` of a face that stays where it is."""
    face = np.array([[-0.5, -0.5], [0.5, -0.5], [0, 0], [-0.3, 0.5], [0.3, 0.5], [0, 0.4], [0, 0.6], [0, 1.2]])
    return np.tile(face * unit + np.array([x, y]), (count, 1, 1))


def person(frames: NDArray[np.uint8], x: int, raised: NDArray[np.floating]) -> None:
    """Draws a face, a trunk, and an arm that goes up (0..1 per frame) on the picture's right."""
    for frame, up in zip(frames, raised, strict=True):
        frame[30:, x - 18 : x + 18] = (40, 60, 140)
        frame[18:34, x - 7 : x + 7] = (210, 160, 130)
        top = round(78 - 44 * up)
        frame[top : top + 18, x + 20 : x + 28] = (205, 155, 125)


def film(count: int, raised: dict[int, NDArray[np.floating]], seed: int) -> NDArray[np.uint8]:
    """People (by the place of their face) before a ground of noise."""
    ground = np.random.default_rng(seed).integers(60, 120, (HEIGHT, WIDTH, 3))
    frames = np.tile(ground.astype(np.uint8), (count, 1, 1, 1))
    for x, ups in raised.items():
        person(frames, x, ups)
    return frames


def stroke(count: int) -> NDArray[np.float64]:
    """Up, held, and down again."""
    times = np.arange(count)
    return np.clip(np.minimum((times - 6) / 5, (count - 6 - times) / 5), 0, 1)


def test_numbers_are_the_stages() -> None:
    assert set(NUMBERS) == ARM_GESTURES
    assert all(GESTURES[number - 1] == name for name, number in NUMBERS.items())


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 5.0), st.floats(-200, 200))
def test_squares_are_as_large_as_faces_say(scale: float, x: float) -> None:
    plain, moved = points(50, 40, 12), points(50, 40, 12) * scale + np.array([x, 0.0])
    one, other = (squares(p[:, :2], p[:, 3:5]) for p in (plain, moved))
    assert np.allclose(other[:, :3], one[:, :3] * scale + np.array([x, 0, 0]), atol=0.05)
    assert one[0, 2] == pytest.approx(SIDE * UNIT) and one[0, 1] == pytest.approx(40 + DROP * UNIT)


def test_what_lies_outside_or_nearer_to_others_is_marked() -> None:
    frames = film(3, {}, 0)
    places = [squares(p[:, :2], p[:, 3:5]) for p in (points(45, 26, 3), points(115, 26, 3))]
    left, right = cut_bodies(frames, places)
    assert left.shape == right.shape == (3, SIZE, SIZE, 4)
    side = SIDE * UNIT
    middle = round(((80 - 45) / side + 0.5) * SIZE)  # half way to the other one
    assert (left[:, 20, : middle - 1, 3][:, 6:] == 255).all() and (left[:, :, middle + 1 :, 3] == 0).all()
    assert (left[..., 3] == right[:, :, ::-1, 3]).mean() > 0.95
    assert (left[:, 0, :, 3] == 0).all()  # above the picture
    alone = cut_bodies(frames, places[:1])[0]
    assert (alone[:, 20, middle + 1 :, 3] == 255).any()


def test_a_mirror_turns_motion() -> None:
    bodies = torch.from_numpy(np.random.default_rng(1).integers(0, 255, (1, 5, SIZE, SIZE, 4), dtype=np.uint8))
    bodies[..., 3] = 255
    plain, mirrored = body_motion(bodies), body_motion(bodies.flip(3))
    expected = plain.flip(-1)
    expected[:, :, ACROSS] *= -1
    assert torch.allclose(mirrored, expected, atol=1e-4)


def test_long_videos_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_gestures, "load_arm_gestures", ArmGestures().eval)
    body = np.random.default_rng(3).integers(0, 255, (23, SIZE, SIZE, 4), dtype=np.uint8)
    whole = arm_probabilities(body)
    monkeypatch.setattr("talkies.evaluation.seen_gestures._BLOCK", 5)
    assert whole.shape == (23, 1 + len(NUMBERS)) and np.allclose(arm_probabilities(body), whole, atol=1e-5)


@pytest.mark.parametrize(("axis", "channel"), [(2, ACROSS), (1, ACROSS + 1)])
def test_motion_has_a_direction(axis: int, channel: int) -> None:
    from scipy.ndimage import gaussian_filter

    texture = gaussian_filter(np.random.default_rng(2).normal(0, 1, (SIZE, SIZE)), 2, mode="wrap")
    picture = np.clip(texture / texture.std() * 50 + 128, 0, 255)
    moves = np.stack([np.roll(picture, k, axis - 1) for k in range(4)])
    bodies = np.full((1, 4, SIZE, SIZE, 4), 255, np.uint8)
    bodies[0, ..., :3] = moves[..., None]
    cells = body_motion(torch.from_numpy(bodies))[0, 1:]
    assert cells[:, channel, 2:-2, 2:-2].mean() == pytest.approx(0.5, abs=0.15)  # a pixel per frame, halved
    assert abs(float(cells[:, 2 * ACROSS + 1 - channel, 2:-2, 2:-2].mean())) < 0.1


def test_waves_are_told_by_who_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    people = (Person("left", asked=(AskedGesture("wave", 1.0),)), Person("right", asked=(AskedGesture("nod", 0.5),)))

    def judged(left: list[SeenGesture], right: list[SeenGesture]) -> dict[str, float]:
        seen = Observation(Sample("x", ArrayVideo(np.zeros((60, 8, 8, 3), np.uint8)), people))
        seen.remember("arm gestures", lambda: [left, right])
        return dict(PROMPT_ARMS.measure(seen))

    wave = SeenGesture("wave", 20, 34)
    right, wrong = judged([wave], []), judged([SeenGesture("point", 20, 34)], [wave])
    assert right["arm gestures done"] == 1 and right["arm gestures mistaken"] == right["arm gestures unasked"] == 0
    assert right["arm gesture delay"] == pytest.approx(0.1)
    twice = judged([wave, SeenGesture("wave", 45, 59)], [])  # the nearest one is the one asked for
    assert twice["arm gesture delay"] == pytest.approx(0.1)
    assert wrong["arm gestures done"] == 0 and wrong["arm gestures mistaken"] == wrong["arm gestures unasked"] == 1
    monkeypatch.setattr(arm_gestures, "WEIGHTS", Path("nowhere"))
    assert "fit-arms" in PROMPT_ARMS.missing()


def clips(count: int, number: int) -> list[dict[str, bytes]]:
    """Pairs of which the left or the right one raises an arm: called a raised hand."""
    made = []
    for k in range(number):
        ups = {45: stroke(count) if k % 2 == 0 else np.zeros(count), 115: stroke(count) * (k % 2)}
        labels: dict[str, NDArray[np.generic]] = {}
        for who, x in enumerate(ups):
            labels[f"p{who}/points"] = points(x, 26, count).astype(np.float32)
            labels[f"p{who}/gesture"] = (ups[x] >= 0.9).astype(np.uint8) * NUMBERS["raise_hand"]
        key = f"arms-{k:06d}"
        made.append(clip_members(key, film(count, ups, k), [], labels, {"people": [{}, {}]}))
    return made


def test_a_fit_learns_whose_arm_is_up(tmp_path: Path) -> None:
    write_shard(tmp_path / "arms-00000.tar", clips(33, 4))
    recipe = ArmsRecipe(
        tracks=tmp_path, validation=tmp_path, output=tmp_path / "fit", steps=60, batch=4, report_steps=60, warmup=5,
        span=33, set_name="arms", validation_name="arms",
    )  # fmt: skip
    found = fit_arms(recipe, tmp_path / "arms.safetensors", lambda text: None)
    assert found["raise_hand found of 4"] == 1 and found["mistaken of 4"] == found["false alarms of 4"] == 0
    assert abs(found["delay"]) < 0.15
    assert (tmp_path / "arms.safetensors").stat().st_size < 1_500_000
    bodies = cut_set(tmp_path, "arms", tmp_path / "fit" / "bodies", exact=False)
    assert len(bodies) == 8 and bodies.classes.max() == 1 + list(NUMBERS).index("raise_hand")
    with pytest.raises(InputError, match="no shards nobody"):
        cut_set(tmp_path, "nobody", tmp_path / "n", exact=True)
    assert CELLS * 3 == SIZE
