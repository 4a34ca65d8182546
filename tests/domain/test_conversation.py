"""The conversation: what is accepted, what is refused, and when who speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from talkies.domain.conversation import Conversation, Region
from talkies.domain.errors import InputError
from talkies.domain.timeline import Reaction, lay_out

DUO: dict[str, Any] = {
    "image": "p.png",
    "speakers": [{"name": "Ann", "audio": "a.wav"}, {"name": "Ben", "audio": "b.wav"}],
}


def placed(fields: dict[str, Any], *seconds: float) -> list[tuple[int, str, float]]:
    conversation = Conversation.model_validate(fields)
    recordings = [
        (turn.audio or Path("spoken.wav"), length)
        for turn, length in zip(
            (turn for turn in conversation.turn_list() if turn.says_something), seconds, strict=True
        )
    ]
    return [(u.person, u.audio.name, round(u.start, 6)) for u in lay_out(conversation, recordings).utterances]


def test_together_starts_everybody_at_zero() -> None:
    assert placed(DUO, 2.0, 3.0) == [(0, "a.wav", 0.0), (1, "b.wav", 0.0)]


def test_in_turn_follows_the_order_of_the_speakers() -> None:
    assert placed(DUO | {"turns": "in_turn"}, 2.0, 3.0) == [(0, "a.wav", 0.0), (1, "b.wav", 2.0)]


def test_a_timeline_mixes_fixed_and_following_turns() -> None:
    turns = [
        {"speaker": "Ben", "audio": "x.wav", "start": 1.5},
        {"speaker": "Ann"},
        {"speaker": "Ben", "start": 9},
    ]
    assert placed(DUO | {"turns": turns}, 2.0, 1.0, 0.5) == [(1, "x.wav", 1.5), (0, "a.wav", 3.5), (1, "b.wav", 9.0)]


def test_pauses_and_words_thrown_in() -> None:
    turns = [
        {"speaker": "Ann", "audio": "x.wav", "pause": 0.5},
        {"speaker": "Ben", "audio": "mhm.wav", "pause": -1},
        {"speaker": "Ann", "pause": 0.25},
        {"speaker": "Ben", "pause": -60},
    ]
    assert placed(DUO | {"turns": turns}, 4.0, 0.3, 1.0, 0.1) == [
        (1, "b.wav", 0.0), (0, "x.wav", 0.5), (1, "mhm.wav", 3.5), (0, "a.wav", 4.75),
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="start or pause"):
        Conversation.model_validate(DUO | {"turns": [{"speaker": "Ann", "start": 1, "pause": 1}]})


def test_a_turn_without_words_is_a_reaction_that_nobody_waits_for() -> None:
    speakers = [{"name": "Ann", "audio": "a.wav"}, {"name": "Cem"}]
    turns = [
        {"speaker": "Ann", "audio": "x.wav"},
        {"speaker": "Cem", "does": "nods", "start": 0.5},
        {"speaker": "Ann"},
        {"speaker": "Cem", "does": "smiles", "pause": -1},
    ]
    fields = DUO | {"speakers": speakers, "turns": turns}
    assert placed(fields, 2.0, 3.0) == [(0, "x.wav", 0.0), (0, "a.wav", 2.0)]
    timeline = lay_out(Conversation.model_validate(fields), [(Path("x"), 2.0), (Path("a"), 3.0)])
    assert timeline.reactions == (Reaction(1, "nods", 0.5), Reaction(1, "smiles", 4.0))
    assert timeline.duration == 6.0


def test_nameless_speakers_are_numbered_and_silent_ones_have_no_turn() -> None:
    conversation = Conversation.model_validate({"image": "p.png", "speakers": [{"audio": "a.wav"}, {}]})
    assert [speaker.name for speaker in conversation.speakers] == ["speaker 1", "speaker 2"]
    assert [turn.speaker for turn in conversation.turn_list()] == ["speaker 1"]


def test_one_person_cannot_say_two_things_at_once() -> None:
    turns = [
        {"speaker": "Ann", "audio": "x.wav", "start": 0},
        {"speaker": "Ann", "start": 1},
        {"speaker": "Ben", "start": 0},
    ]
    with pytest.raises(InputError, match="two things at once"):
        placed(DUO | {"turns": turns}, 2.0, 2.0, 1.0)


def test_more_than_a_day_is_refused() -> None:
    with pytest.raises(InputError, match="more than a day"):
        placed(DUO | {"turns": "in_turn"}, 80_000.0, 80_000.0)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8))
def test_turns_one_after_another_never_overlap_and_fill_the_whole(lengths: list[float]) -> None:
    speakers = [{"audio": f"{index}.wav"} for index in range(len(lengths))]
    conversation = Conversation.model_validate({"image": "p", "speakers": speakers, "turns": "in_turn"})
    timeline = lay_out(conversation, [(Path(f"{index}"), length) for index, length in enumerate(lengths)])
    assert timeline.duration == pytest.approx(sum(lengths))
    for before, after in zip(timeline.utterances, timeline.utterances[1:], strict=False):
        assert after.start == pytest.approx(before.end)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speakers": []}, "at least 1"),
        ({"speakers": [{"audio": "a"}] * 33}, "at most 32"),
        ({"speakers": [{"name": "A", "audio": "a"}, {"name": "A"}]}, "two speakers are called 'A'"),
        ({"speakers": [{"name": "\u00e9", "audio": "a"}, {"name": "e\u0301"}]}, "two speakers are called"),
        ({"speakers": [{"name": "A"}]}, "nobody speaks"),
        ({"speakers": [{"name": " ", "audio": "a"}]}, "at least 1 character"),
        ({"speakers": [{"audio": "a", "text": "hello"}]}, "audio or text, not both"),
        ({"speakers": [{"audio": "a", "language": "English!"}]}, "pattern"),
        ({"turns": "both"}, "turns"),
        ({"turns": []}, "at least 1"),
        ({"turns": [{"speaker": "Cleo", "start": 0}]}, "there is no speaker 'Cleo'"),
        ({"turns": [{"speaker": "Ann", "start": 0}]}, "'Ben' has audio of their own, but no turn uses it"),
        ({"speakers": [{"name": "A"}], "turns": [{"speaker": "A"}]}, "has audio or text"),
        ({"speakers": [{"name": "A"}], "turns": [{"speaker": "A", "does": "nods"}]}, "nobody speaks"),
        ({"turns": [{"speaker": "Ann", "start": -1}]}, "greater than or equal to 0"),
        ({"turns": [{"speaker": "Ann", "start": float("nan")}]}, "finite"),
        ({"prompt": "x" * 4001}, "at most 4000"),
        (
            {"directions": [{"does": "nods", "start": 0, "speaker": "Cleo"}]},
            r"directions\[0\]: there is no speaker 'Cleo'",
        ),
        ({"directions": [{"does": "nods", "start": 2, "end": 1}]}, "before it begins"),
        ({"directions": [{"does": " ", "start": 2}]}, "at least 1 character"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Conversation.model_validate(DUO | change)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"box": [0, 0, 5, 5], "point": [1, 1]},
        {"box": [5, 0, 5, 9]},
        {"box": [0, 9, 5, 3]},
        {"box": [0, 0, 5]},
        {"box": [0, 0, 5, float("inf")]},
        {"point": [1]},
    ],
)
def test_a_region_is_exactly_one_sound_thing(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Region.model_validate(fields)
