"""Captions: true, varied, and naming every gesture with its person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.domain.performer import Performer
from talkies.stage.captions import (
    GESTURE_KEYWORDS,
    PersonWords,
    SceneWords,
    describe,
    hair_words,
    with_article,
)
from talkies.stage.corpus import STATEMENTS, caption_performers, draw_statements
from talkies.stage.gestures import GESTURES
from talkies.stage.motion import MOODS

people = st.builds(
    PersonWords,
    sex=st.sampled_from(["female", "male"]),
    age=st.floats(19, 80),
    hair=st.builds(hair_words, st.sampled_from(["long", "crop", "afro", "mohawk"]), st.sampled_from(["red", "auburn"])),
    wears=st.sampled_from(["a red sweater", "an orange shirt", "a black suit"]),
    features=st.sampled_from([(), ("glasses",), ("glasses", "a short beard")]),
    mood=st.sampled_from(MOODS),
    role=st.sampled_from(["speaker", "listener", "idle"]),
    gestures=st.lists(st.sampled_from(GESTURES), max_size=2, unique=True).map(tuple),
)
scenes = st.builds(
    SceneWords,
    people=st.lists(people, min_size=1, max_size=4).map(tuple),
    place=st.sampled_from(["in an office", "on a beach"]),
    light=st.sampled_from(["", "soft daylight"]),
    framing=st.sampled_from(["close-up", "head and shoulders", "waist-up"]),
    pattern=st.sampled_from([None, "alternate", "overlap", "backchannel", "one_silent"]),
)


@settings(deadline=None, max_examples=80)
@given(scenes, st.integers(0, 1000))
def test_every_paraphrase_is_whole_and_names_every_gesture(scene, seed) -> None:
    texts = describe(scene, np.random.default_rng(seed), 3)
    assert len(set(texts)) == 3
    assert texts == describe(scene, np.random.default_rng(seed), 3)
    for text in texts:
        assert text[0].isupper()
        assert text[-1] == "."
        assert "{" not in text
        assert "  " not in text
        assert ".." not in text
        assert scene.place in text
        for person in scene.people:
            for name in person.gestures:
                assert GESTURE_KEYWORDS[name] in text
        named = {name for person in scene.people for name in person.gestures}
        for absent in {"wave", "shrug", "thumbs_up", "cross_arms", "raise_hand"} - named:
            assert GESTURE_KEYWORDS[absent] not in text


def test_plans_are_kept_to() -> None:
    """Short captions name moods and gestures, and nobody's clothes."""
    person = PersonWords("male", 40, "short hair", "a red sweater", mood="annoyed", gestures=("nod",))
    scene = SceneWords((person,), "in an office")
    for seed in range(20):
        (text,) = describe(scene, np.random.default_rng(seed), 1, (4,))
        assert "nod" in text and "sweater" not in text


def test_performers_filmed_one_by_one_are_described_together() -> None:
    words = {"sex": "female", "age": 33.0, "hair": "long red hair", "wears": "a suit", "features": ["glasses"],
             "mood": "happy", "role": "speaker", "gestures": []}  # fmt: skip
    about = {"words": words, "light": {"name": "soft daylight"}}
    other = {**about, "words": {**words, "sex": "male", "role": "listener"}}
    first, second = Performer(about, (2,), True), Performer(other, (), False)
    texts = [caption_performers([first, second], np.random.default_rng(seed)) for seed in range(40)]
    assert all("nod" in text for text in texts)
    words_of_mood = ("smiles", "happy", "cheerful")
    assert any(word in text for text in texts for word in words_of_mood)
    unseen = [replace(performer, in_mood=False) for performer in (first, second)]
    calm = [caption_performers(unseen, np.random.default_rng(seed)) for seed in range(40)]
    assert not any(word in text for text in calm for word in words_of_mood)


def test_statements_hold_of_their_captions() -> None:
    words = {"sex": "female", "age": 33.0, "hair": "long red hair", "wears": "a suit", "features": [],
             "mood": "neutral", "role": "listener", "gestures": []}  # fmt: skip
    about = {"words": words, "light": {"name": ""}}
    for seed in range(30):
        text, truth = draw_statements([about], np.random.default_rng(seed))
        assert truth.shape == (len(STATEMENTS),)
        for name, keyword in GESTURE_KEYWORDS.items():
            assert keyword in text if truth[STATEMENTS.index(name)] else keyword not in text or name == "turn"
        assert not truth[STATEMENTS.index("speaks")]


def test_who_speaks_is_said() -> None:
    talker = PersonWords("female", 30, "long red hair", "a red dress", role="speaker")
    other = PersonWords("male", 30, "short red hair", "a grey suit", role="listener")
    for text in describe(SceneWords((talker, other), "in a park", pattern="one_silent"), np.random.default_rng(0), 8):
        assert "listen" in text
        assert text.index("while") < text.index("listen")


def test_articles_and_hair() -> None:
    assert with_article("orange shirt") == "an orange shirt"
    assert with_article("red shirt") == "a red shirt"
    assert hair_words("afro", "auburn") == "an auburn afro"
    assert hair_words("bald", "grey") == "a bald head"
    assert hair_words("mohawk", "green") == "mohawk green hair"


def test_bad_scenes_are_refused() -> None:
    with pytest.raises(InputError):
        describe(SceneWords((), "here"), np.random.default_rng(0))
    person = PersonWords("other", 30, "hair", "a shirt")
    with pytest.raises(InputError):
        describe(SceneWords((person,), "here"), np.random.default_rng(0))
