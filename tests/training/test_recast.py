"""Somebody else's performance: motion follows the face it is given to, and says what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from talkies.media.face_places import face_places
from talkies.models.motion_latents import (
    CELL,
    EXPRESSIONS,
    FLOW_CHANNELS,
    FRAMES,
    MOTION_CHANNELS,
    MOUTHS,
    PLACES,
    compress_flow,
    expand_flow,
)
from talkies.training.panels import STARTS, Panel
from talkies.training.recast import Casting, face_of, recast, told_expressions

ROWS, COLUMNS, GROUPS = 12, 10, 8
SPREAD: Sequence[float] = [0.5] * (MOTION_CHANNELS + 2)
KNEE = 4.0


def somebody(seed: int, size: float = 30.0, at: tuple[float, float] = (80.0, 70.0), role: str = "speaker") -> Panel:
    """A panel of a head that shifts as a whole and whose face does anything: eyes `at`, `size` below them a mouth."""
    rng = torch.Generator().manual_seed(seed)
    eyes, mouth = np.array([at]), np.array([(at[0], at[1] + size)])
    places = torch.from_numpy(face_places(eyes, mouth, ROWS, COLUMNS, CELL)[0]).float()
    y, x = torch.meshgrid(torch.arange(ROWS) + 0.5, torch.arange(COLUMNS) + 0.5, indexing="ij")
    away = ((x * CELL - at[0]) / (1.6 * size)) ** 2 + ((y * CELL - at[1] - size / 2) / (2 * size)) ** 2
    mask = (away < 1).float()
    count = GROUPS + len(STARTS)
    shift = 0.3 * torch.randn(count, FLOW_CHANNELS, 1, 1, generator=rng)
    done = torch.randn(count, FRAMES, EXPRESSIONS, generator=rng)
    shown = done[..., None, None] * places[list(MOUTHS)]
    z = torch.cat(
        [
            shift * mask,
            shown.flatten(1, 2),
            places.expand(count, -1, -1, -1),
            torch.randn(count, 2, ROWS, COLUMNS, generator=rng),
        ],
        1,
    )
    z[GROUPS:, FLOW_CHANNELS:] = 0  # of given frames only the picture is known
    z = compress_flow(z, KNEE) / torch.tensor(SPREAD).view(-1, 1, 1)
    words: dict[str, Any] = {
        "sex": "female", "age": 20.0 + seed, "hair": f"hair {seed}", "wears": f"a shirt {seed}", "features": [],
        "mood": "neutral", "role": role, "gestures": [],
    }  # fmt: skip
    style = {"mood": "neutral", "mood_onset": -1.0, "liveliness": 1.0 + seed / 100}
    return Panel(
        id=f"track-{seed}",
        groups=z[:GROUPS],
        singles=z[GROUPS:],
        condition=torch.cat([places, torch.full((48, ROWS, COLUMNS), float(seed))]),
        mask=mask,
        weight=torch.ones(GROUPS, ROWS, COLUMNS) + places[0],
        audio=torch.full((4, 2, 3), float(seed)),
        reference=0,
        person=f"person-{seed}",
        gesture=torch.zeros(4, dtype=torch.uint8),
        about={"words": words, "style": style, "light": {"name": f"light {seed}"}},
    )


def natural(z: Tensor) -> Tensor:
    return expand_flow(z * torch.tensor(SPREAD).view(-1, 1, 1), KNEE)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50), st.floats(20, 34), st.floats(60, 100), st.floats(50, 80))
def test_heads_move_as_far_for_their_size_and_faces_do_the_same(seed: int, size: float, x: float, y: float) -> None:
    panel, picture = somebody(seed), somebody(seed + 51, size, (x, y))
    made = recast(panel, picture, panel, SPREAD, KNEE)
    before, after = natural(panel.groups), natural(made.groups)
    face = torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    face[int(y / CELL) : int((y + size) / CELL) + 1, int(x / CELL)] = True
    moved = before[:, :FLOW_CHANNELS, 5, 5]  # within the panel's own face
    inside = after[:, :FLOW_CHANNELS][:, :, face].mean(-1)
    torch.testing.assert_close(inside, moved * size / 30, rtol=0.1, atol=0.03)
    torch.testing.assert_close(told_expressions(after), told_expressions(before), rtol=1e-3, atol=1e-3)
    near = F.max_pool2d(picture.mask[None], 7, 1, 3)[0]
    assert not (after[:, :FLOW_CHANNELS] * (1 - near)).any()
    assert not after[:, MOTION_CHANNELS:].any() and not natural(made.singles)[:, FLOW_CHANNELS:].any()
    assert made.groups.shape == panel.groups.shape and made.singles.shape == panel.singles.shape


def test_everything_comes_from_where_it_is_said_to() -> None:
    panel, picture, voice = somebody(1), somebody(2), somebody(3)
    voice.about["style"].update(mood="happy", mood_onset=0.4)
    voice.about["words"].update(mood="happy")
    made = recast(panel, picture, voice, SPREAD, KNEE)
    assert torch.equal(made.condition, picture.condition) and torch.equal(made.mask, picture.mask)
    assert torch.equal(made.audio, voice.audio) and torch.equal(made.gesture, panel.gesture)
    assert made.person == picture.person and made.about["light"] == picture.about["light"]
    words, style = made.about["words"], made.about["style"]
    assert (words["hair"], words["mood"], style["mood"], style["mood_onset"]) == ("hair 2", "happy", "happy", 0.4)
    assert style["liveliness"] == panel.about["style"]["liveliness"]
    spoken, own = (told_expressions(natural(part.groups)) for part in (made, voice))
    torch.testing.assert_close(spoken, own, rtol=1e-3, atol=1e-3)


def test_without_a_face_nothing_is_recast() -> None:
    panel, faceless = somebody(1), somebody(2)
    faceless.condition[:PLACES] = 0
    assert face_of(faceless.condition) is None
    assert recast(panel, faceless, panel, SPREAD, KNEE) is panel
    assert recast(faceless, panel, panel, SPREAD, KNEE) is faceless


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (0.7, 0.4)])
def test_casts_show_nobody_twice_and_give_speakers_the_voices_of_speakers(shares: tuple[float, float]) -> None:
    panels = [somebody(k, role="speaker" if k % 2 else "silent") for k in range(8)]
    casting = Casting(panels, *shares, SPREAD, KNEE, np.random.default_rng(0))
    others = 0
    for k in range(40):
        drawn = [panels[k % 8], panels[(k + 3) % 8], panels[(k + 6) % 8]]
        cast = casting.cast(drawn)
        assert len({panel.person for panel in cast}) == 3
        for panel, performed in zip(cast, drawn, strict=True):
            heard = int(panel.audio[0, 0, 0])
            assert panels[heard].about["words"]["role"] == performed.about["words"]["role"]
            others += panel is not performed
    assert (others > 0) is (shares != (0.0, 0.0))


def test_pictures_are_of_people_who_look_to_the_same_side() -> None:
    """Or heads would turn to where nobody in the picture looks."""
    sides = [replace(p, about={**p.about, "partner_direction_deg": (-20.0, 20.0)[k % 2]})
             for k, p in enumerate(map(somebody, range(8)))]  # fmt: skip
    casting = Casting(sides, 1.0, 0.0, SPREAD, KNEE, np.random.default_rng(0))
    shown = [(k, casting.cast([sides[k]])[0].person) for k in range(8) for _ in range(8)]
    people = {panel.person: k for k, panel in enumerate(sides)}
    assert all(people[person] % 2 == k % 2 for k, person in shown)
    assert sum(people[person] != k for k, person in shown) > 32
