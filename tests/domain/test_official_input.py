"""The authors' input JSON."""

from __future__ import annotations

from typing import Any

import pytest

from talkies.domain.conversation import Conversation
from talkies.domain.errors import InputError
from talkies.domain.official import from_official

BASE: dict[str, Any] = {"prompt": "p", "cond_image": "i.png", "cond_audio": {"person1": "1.wav", "person2": "2.wav"}}


def convert(**change: Any) -> Conversation:
    return Conversation.model_validate(from_official(BASE | change))


def test_boxes_are_turned_from_row_first_to_left_top_right_bottom() -> None:
    conversation = convert(audio_type="add", bbox={"person1": [160, 120, 1280, 1080], "person2": [10.9, -3, 20, 30.2]})
    boxes = [speaker.region.box for speaker in conversation.speakers if speaker.region]
    assert boxes == [(120, 160, 1080, 1280), (0, 10, 30, 20)]
    assert conversation.turns == "in_turn"


def test_para_is_together_and_the_default() -> None:
    assert convert(audio_type="para").turns == "together"
    assert convert().turns == "together"


def test_people_are_sorted_by_number_and_silent_ones_stay() -> None:
    conversation = convert(cond_audio={"person10": "10.wav", "person2": "None", "person1": "1.wav"})
    assert [speaker.name for speaker in conversation.speakers] == ["person1", "person2", "person10"]
    assert conversation.speakers[1].audio is None


def test_spoken_text_becomes_turns_one_after_another() -> None:
    fields = {"prompt": "p", "cond_image": "i.png", "tts_audio": {
        "text": "(s1) Hello (you) there. (s2) Hi! (s1) Bye.",
        "human1_voice": "weights/am_adam.pt", "human2_voice": "af_heart",
    }}  # fmt: skip
    conversation = Conversation.model_validate(from_official(fields))
    assert [speaker.voice for speaker in conversation.speakers] == ["am_adam", "af_heart"]
    assert [(turn.speaker, turn.text) for turn in conversation.turn_list()] == [
        ("person1", "Hello (you) there."), ("person2", "Hi!"), ("person1", "Bye."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"cond_image": None},
        {"cond_audio": []},
        {"cond_audio": {}},
        {"cond_audio": {"alice": "1.wav"}},
        {"audio_type": "seq"},
        {"bbox": {"person3": [0, 0, 5, 5]}},
        {"bbox": {"person1": [0, 0, 5]}},
        {"bbox": {"person1": [0, 0, "5", 5]}},
        {"bbox": {"person1": [9, 9, 5, 5]}},
        {"bbox": [1, 2, 3, 4]},
        {"surprise": 1},
        {"cond_video": "v.mp4"},
        {"cond_audio": None, "tts_audio": {"human1_voice": "x"}},
        {"cond_audio": None, "tts_audio": {"text": "hi", "human1_voice": 3}},
    ],
)
def test_malformed_input_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        from_official(BASE | change)
