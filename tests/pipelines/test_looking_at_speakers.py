"""Who looks at whom, and how far eyes turn for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.gaze import watched
from talkies.pipelines.attention import Attention, attentions, speaks, turn_towards
from talkies.pipelines.chance import picture_seeds
from talkies.pipelines.eyes import drawn_gaze
from talkies.sampling.noise import cpu_generator

RATE = 16_000


def talk(*spans: tuple[float, float], seconds: float = 4.0) -> np.ndarray:
    """Noise at speech's level in spans of seconds."""
    waveform = np.zeros(round(seconds * RATE), np.float32)
    for first, last in spans:
        part = slice(round(first * RATE), round(last * RATE))
        waveform[part] = 0.1 * np.random.default_rng(0).standard_normal(part.stop - part.start)
    return waveform


def face(x: float, y: float = 40.0, nose: float = 0.0) -> torch.Tensor:
    """Eyes 20 pixels apart, the nose so far beside their middle."""
    return torch.tensor([[x - 10, y], [x + 10, y], [x + nose, y + 10], [x - 8, y + 20], [x + 8, y + 20]])


@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4))
def test_people_look_at_who_speaks(spoken: list[list[bool]]) -> None:
    """The plain way: frame by frame."""
    speaking = np.array(spoken)
    people = len(speaking)
    seen, holder, before = watched(speaking), -1, -1
    for frame in range(speaking.shape[1]):
        now = [p for p in range(people) if speaking[p, frame]]
        if now and holder not in now:
            before, holder = holder, now[0]
            if before < 0 and people == 2:
                before = 1 - holder
        wanted = [before if p == holder else holder for p in range(people)]
        assert seen[:, frame].tolist() == wanted
        assert all(wanted[p] != p for p in range(people))


def test_pauses_within_what_is_said_count() -> None:
    speaking = speaks(talk((0.4, 1.0), (1.4, 2.0), (3.2, 3.6)), RATE, 100)
    assert speaking[10:50].all() and not speaking[:9].any() and not speaking[52:79].any() and speaking[81:89].all()
    assert not speaks(talk(), RATE, 100).any() and not speaks(np.zeros(0, np.float32), RATE, 100).any()
    assert speaks(talk((0, 4)), RATE, 30).shape == (30,) and not speaks(talk((0, 4)), RATE, 300)[101:].any()
    assert not speaks(1e-4 * talk((0, 4)), RATE, 100).any()


@given(st.floats(-15, 15), st.sampled_from([-60.0, 60.0]))
def test_eyes_turn_as_far_as_heads_have_left_to_them(nose: float, across: float) -> None:
    turn = turn_towards(face(100, nose=nose), 100 + across)
    mirrored = turn_towards(face(100, nose=-nose), 100 - across)
    assert turn == pytest.approx(-mirrored, abs=1e-4) and 0 <= turn * np.sign(across) <= 8
    further = turn_towards(face(100, nose=nose + np.sign(across)), 100 + across)
    assert abs(further) <= abs(turn) + 1e-6
    assert abs(turn_towards(face(100, nose=12 * np.sign(across)), 100 + across)) < 1e-3  # it faces the other


def test_the_listener_looks_at_the_speaker_after_a_moment() -> None:
    masks = torch.zeros(2, 80, 200)
    masks[0, :, :100] = masks[1, :, 100:] = 1
    attention = Attention([talk((0.4, 1.6)), talk((2.0, 4.0))], RATE, 100, masks)
    faces = torch.stack([face(150), face(50), torch.zeros(5, 2)])  # in another order than the people
    turns = attention.towards(faces, 0, 100)
    assert turns.shape == (3, 100) and not turns[:, :16].any() and not turns[2].any()
    assert (turns[0, 16:] < 0).all() and (turns[1, 16:] > 0).all()  # of two, both look at each other
    assert np.array_equal(turns[:, 40:73], attention.towards(faces, 40, 33))
    assert attention.towards(faces, 90, 33).shape == (3, 33)  # a segment may be longer than the film


def test_of_three_everybody_turns_to_who_has_the_floor() -> None:
    masks = torch.zeros(3, 80, 300)
    for person in range(3):
        masks[person, :, 100 * person : 100 * person + 100] = 1
    voices = [talk((0.0, 1.0)), np.zeros(0, np.float32), talk((2.0, 4.0))]
    turns = Attention(voices, RATE, 100, masks).towards(torch.stack([face(50), face(150), face(250)]), 0, 100)
    assert (turns[1, 10:50] < 0).all() and (turns[1, 60:] > 0).all()
    assert not turns[0, 10:50].any() and (turns[0, 60:] > 0).all() and (turns[2, 10:] < 0).all()


def test_faces_outside_and_between_regions_look_at_nobody() -> None:
    masks = torch.ones(2, 80, 200)
    attention = Attention([talk((0, 4)), talk()], RATE, 100, masks)
    assert not attention.towards(torch.stack([face(50), face(150)]), 0, 100).any()
    assert not attention.towards(face(-500)[None], 0, 10).any()


def test_eyes_wander_about_whom_they_look_at() -> None:
    pictures = torch.zeros(1, 3, 80, 200)
    masks = torch.zeros(1, 3, 80, 200)
    masks[0, 0, :, :100] = masks[0, 1, :, 100:] = 1
    people = attentions([[talk((0, 4)), talk()]], RATE, 100, masks)
    assert attentions([[talk((0, 4))]], RATE, 100, None) is None
    seeds, faces = picture_seeds([cpu_generator(1)], pictures), torch.stack([face(50), face(150)])[None]
    alone, together = drawn_gaze(seeds, 1.0), drawn_gaze(seeds, 1.0, people)
    assert alone is not None and together is not None and people is not None
    moved = (together(faces, 0, 100) - alone(faces, 0, 100))[0]
    assert not moved[..., 1].any() and moved[0, 20:, 0].median() == 8 and moved[1, 20:, 0].median() == -8
    assert together(faces, 0, 100).abs().max() <= 12
