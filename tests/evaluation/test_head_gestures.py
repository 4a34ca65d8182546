"""Gestures of heads: told by motion alone, wherever and however large the face is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.faces import ArrayVideo, FaceTrack
from talkies.evaluation.fitting.gestures import GesturesRecipe, fit_gestures, read_gestures
from talkies.evaluation.head_motion import FEATURES, MIRRORED, of_labels
from talkies.evaluation.metrics.prompt import PROMPT
from talkies.evaluation.networks.head_gestures import NAMES, NUMBERS
from talkies.evaluation.sample import AskedGesture, Observation, Person, Sample
from talkies.evaluation.seen_gestures import SeenGesture, find_gestures, head_gestures_of
from talkies.stage.gestures import GESTURES

FRAMES = 60
#: Eyes, nose, corners of the mouth, lips, chin of a face that looks ahead; and how deep each lies before the neck.
FACE = np.array([[-16, -16], [16, -16], [0, 2], [-10, 16], [10, 16], [0, 14], [0, 18], [0, 30]], np.float64)
DEPTH = np.array([30, 30, 44, 34, 34, 36, 36, 34], np.float64)


def head(yaw: NDArray[np.floating], pitch: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points `[F, 8, 2]` of a head that turns and nods (degrees), seen from afar."""
    a, b = np.radians(yaw)[:, None], np.radians(pitch)[:, None]
    across = FACE[:, 0] * np.cos(a) + DEPTH * np.sin(a)
    deep = -FACE[:, 0] * np.sin(a) + DEPTH * np.cos(a)
    down = FACE[:, 1] * np.cos(b) - deep * np.sin(b)
    return np.stack([across + 100, down + 100], -1)


def moves(kind: str) -> NDArray[np.float64]:
    """A second of a gesture in the middle, else rest."""
    times = (np.arange(FRAMES) + 0.5) / 25
    during = np.clip(np.minimum((times - 0.5) / 0.15, (1.8 - times) / 0.15), 0, 1)
    zero = np.zeros(FRAMES)
    if kind == "nod":
        return head(zero, -9 * during * np.clip(0.35 + 0.65 * np.sin(2 * np.pi * 2.2 * (times - 0.5)), -1, 1))
    if kind == "shake":
        return head(13 * during * np.sin(2 * np.pi * 1.8 * (times - 0.5)), zero)
    return head(zero, zero)


def followed(points: NDArray[np.floating]) -> FaceTrack:
    """A face track with the points that matter where they are."""
    mesh = np.zeros((len(points), 468, 2), np.float32)
    for numbers, k in (((33, 133), 0), ((362, 263), 1), ((1,), 2), ((61,), 3), ((291,), 4)):
        mesh[:, list(numbers)] = points[:, None, k]
    return FaceTrack(np.zeros((len(points), 4), np.float32), mesh, np.ones(len(points), np.float32), 1.0)


@pytest.mark.parametrize(("kind", "expected"), [("nod", ["nod"]), ("shake", ["shake"]), ("rest", [])])
def test_gestures_are_seen(kind: str, expected: list[str]) -> None:
    found = head_gestures_of(followed(moves(kind)))
    assert [gesture.name for gesture in found] == expected
    assert all(8 <= gesture.first < gesture.last <= 50 for gesture in found)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 8.0), st.floats(-500, 500), st.floats(-500, 500))
def test_size_and_place_do_not_matter(scale: float, x: float, y: float) -> None:
    points = moves("shake")
    moved = points * scale + np.array([x, y])
    assert np.allclose(of_labels(points), of_labels(moved), atol=1e-2)


def test_a_mirror_turns_signs() -> None:
    points = moves("shake") + moves("nod")
    plain, mirrored = of_labels(points), of_labels(points * [-1, 1])
    signs = np.array([-1.0 if name in MIRRORED else 1.0 for name in FEATURES])
    assert np.allclose(plain * signs, mirrored, atol=1e-3)


def test_short_stretches_are_not_seen() -> None:
    values = np.zeros((30, 1 + len(NAMES)))
    values[:, 0] = 0.5
    values[3:6, 1], values[10:20, 2] = 0.9, 0.9
    assert find_gestures(values, NAMES) == [SeenGesture(NAMES[1], 10, 19)]


def test_numbers_are_the_stages() -> None:
    assert all(GESTURES[number - 1] == name for name, number in NUMBERS.items())


def observed(left: str, right: str, asked: tuple[tuple[str, ...], tuple[str, ...]]) -> dict[str, float]:
    people = tuple(
        Person(str(k), asked=tuple(AskedGesture(name, 1.15) for name in names)) for k, names in enumerate(asked)
    )
    seen = Observation(Sample("x", ArrayVideo(np.zeros((FRAMES, 8, 8, 3), np.uint8)), people))
    vars(seen)["faces"] = (followed(moves(left)), followed(moves(right)))
    return dict(PROMPT.measure(seen))


def test_prompts_are_followed_by_the_right_person() -> None:
    right = observed("nod", "rest", (("nod",), ()))
    assert right["head gestures done"] == 1 and right["head gestures mistaken"] == right["head gestures unasked"] == 0
    assert abs(right["head gesture delay"]) < 0.3
    wrong = observed("rest", "nod", (("nod",), ()))
    assert wrong["head gestures done"] == 0 and wrong["head gestures mistaken"] == 1
    assert wrong["head gestures unasked"] == 0.5
    arms = observed("rest", "rest", ((), ("wave",)))  # judged apart
    assert np.isnan(arms["head gestures done"]) and arms["head gestures unasked"] == 0


def test_nothing_is_said_of_gestures_where_nobody_knows_what_was_asked() -> None:
    seen = Observation(Sample("x", ArrayVideo(np.zeros((FRAMES, 8, 8, 3), np.uint8)), (Person("one"),)))
    assert np.isnan(list(PROMPT.measure(seen).values())).all()


def test_prompt_following_falls_with_damage() -> None:
    """Nods that are less and less of one, and that come later and later."""
    rest, nod = moves("rest"), moves("nod")

    def judged(points: NDArray[np.floating]) -> dict[str, float]:
        people = (Person("one", asked=(AskedGesture("nod", 1.15),)),)
        seen = Observation(Sample("x", ArrayVideo(np.zeros((len(points), 8, 8, 3), np.uint8)), people))
        vars(seen)["faces"] = (followed(points),)
        return dict(PROMPT.measure(seen))

    done = [judged(rest + share * (nod - rest))["head gestures done"] for share in (1.0, 0.6, 0.3, 0.1, 0.0)]
    assert done == sorted(done, reverse=True) and done[0] == 1 and done[-1] == 0
    late = [judged(np.roll(nod, frames, axis=0))["head gesture delay"] for frames in (0, 4, 8)]
    assert late == sorted(late) and late[2] - late[0] == pytest.approx(8 / 25, abs=0.1)


def test_a_fit_learns_from_tracks(tmp_path: Path) -> None:
    for number, kind in enumerate(("nod", "shake", "rest", "nod", "shake", "rest")):
        gesture = np.zeros(FRAMES, np.uint8)
        gesture[13:45] = NUMBERS.get(kind, 0)
        np.savez(tmp_path / f"person-{number:07d}-take-00.npz", points=moves(kind), gesture=gesture)
    recipe = GesturesRecipe(
        tracks=tmp_path, validation=tmp_path, output=tmp_path / "fit", steps=80, batch=8, report_steps=80, warmup=5
    )
    found = fit_gestures(recipe, tmp_path / "g.safetensors", lambda text: None)
    assert found["found"] == 1 and found["mistaken"] == 0
    assert (tmp_path / "g.safetensors").stat().st_size < 200_000
    with pytest.raises(InputError, match="no tracks"):
        read_gestures(tmp_path / "fit")
