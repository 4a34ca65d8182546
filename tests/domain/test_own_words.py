"""Whose words are they."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.own_words import own_words

SCENE = "Two people talk."


@pytest.mark.parametrize(
    ("told", "people", "whose"),
    [
        ("The woman on the left nods.", 2, {0}),
        ("The man on the right shakes his head.", 2, {1}),
        ("The left one waves with her right hand.", 2, {0}),
        ("The right-hand speaker leans over.", 2, {1}),
        ("The person in the middle nods.", 3, {1}),
        ("The man second from the right shrugs.", 4, {2}),
        ("The person on the far left nods.", 4, {0}),
        ("The leftmost person nods.", 5, {0}),
        ("The third person from the left nods.", 5, {2}),
        ("The person number 4 from the left nods.", 7, {3}),
        ("The person number 0 from the left nods.", 2, {0, 1}),
        # nobody's in particular, or everybody's
        ("They take turns.", 2, {0, 1}),
        ("The man on the left speaks while the woman on the right listens.", 2, {0, 1}),
        ("The person on the left and the one on the right nod.", 3, {0, 2}),
        ("Everybody looks to the left.", 2, {0, 1}),
        ("A dog sleeps in the middle of the room.", 3, {0, 1, 2}),
        ("The woman raises her right hand.", 2, {0, 1}),
        ("La femme à gauche hoche la tête.", 2, {0, 1}),
        ("左边的女人点头。", 2, {0, 1}),
        ("The woman on the left nods.", 1, {0}),
    ],
)
def test_places_tell_who_is_meant(told: str, people: int, whose: set[int]) -> None:
    texts = own_words(f"{SCENE} {told}", people)
    assert {person for person, text in enumerate(texts) if told in text} == whose
    assert all(text.startswith(SCENE) for text in texts)


def test_looks_kinds_and_pronouns_tell_who_is_meant() -> None:
    left, right = own_words("A man and a woman talk. The woman nods. She smiles. He frowns. The man waves.", 2)
    assert left == "A man and a woman talk. He frowns. The man waves."
    assert right == "A man and a woman talk. The woman nods. She smiles."
    left, right = own_words(
        "On the left is a woman in a red hat; on the right, a woman with short hair. The woman in the hat nods. "
        "The woman with the short hair leans over. The woman sings.", 2,
    )  # fmt: skip
    assert left == "On the left is a woman in a red hat; The woman in the hat nods. The woman sings."
    assert right == "on the right, a woman with short hair. The woman with the short hair leans over. The woman sings."


def test_all_read_what_is_nobodys() -> None:
    prompt = "Two women talk in a café. The woman nods. She smiles"
    assert own_words(prompt, 2) == (prompt, prompt)
    assert own_words("", 3) == ("", "", "")
    assert own_words("The man on the left nods", 2) == ("The man on the left nods",) * 2  # an empty prompt says less


@given(st.text(max_size=200), st.integers(1, 6))
def test_any_text_is_read_by_somebody(prompt: str, people: int) -> None:
    texts = own_words(prompt, people)
    assert len(texts) == people
    assert all(set(text) <= set(prompt) for text in texts)
    if prompt.strip():
        assert all(text.strip() for text in texts)


@given(st.lists(st.sampled_from(["on the left", "on the right"]), min_size=1, max_size=6))
def test_sentences_keep_their_order_and_none_is_lost(places: list[str]) -> None:
    told = [f"The person {place} does thing {k}." for k, place in enumerate(places)]
    left, right = own_words(" ".join([SCENE, *told]), 2)
    assert left == " ".join([SCENE, *(text for text in told if "left" in text)])
    assert right == " ".join([SCENE, *(text for text in told if "right" in text)])
