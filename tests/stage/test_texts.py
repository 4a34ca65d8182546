"""The grammar: wide, pronounceable, and split so that no sentence is in two sets."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.stage import engines
from talkies.stage.texts import sample_sentence, sample_text, split_of, spoken_words, vocabulary


def draw(split, kind, count):
    rng = np.random.default_rng(5)
    return [sample_sentence(rng, split, kind).text for _ in range(count)]


def test_thousands_of_distinct_sentences() -> None:
    assert len(set(draw("train", None, 4000))) > 3000
    assert len(set(draw("test", None, 1000))) > 400


@pytest.mark.parametrize("kind", ["statement", "question", "backchannel"])
def test_no_sentence_is_in_two_sets(kind) -> None:
    train, test = set(draw("train", kind, 1500)), set(draw("test", kind, 500))
    assert not {spoken_words(s) for s in train} & {spoken_words(s) for s in test}
    assert all(split_of(s) == "train" for s in train)
    assert all(split_of(s) == "test" for s in test)


@given(st.integers(0, 2**32 - 1))
def test_the_same_seed_says_the_same(seed) -> None:
    first, second = (sample_text(np.random.default_rng(seed), "train", 2) for _ in range(2))
    assert first == second
    assert first[0].isupper()
    assert first[-1] in ".!?"


@given(st.text(alphabet="abc'XYZ ,.!?-", min_size=1))
def test_the_set_depends_on_the_words_alone(text) -> None:
    try:
        words = spoken_words(text)
    except InputError:
        return
    assert split_of(" ".join(words)) == split_of(text.upper() + "!!")


def test_every_word_has_a_pronunciation_and_every_phone_is_said() -> None:
    pocketsphinx = pytest.importorskip("pocketsphinx")
    dictionary = {}
    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    for line in path.read_text().splitlines():
        word, *phones = line.split()
        dictionary.setdefault(word, phones)
    assert vocabulary() <= set(dictionary)
    said = collections.Counter(
        phone for text in draw("train", None, 1000) for word in spoken_words(text) for phone in dictionary[word]
    )
    assert len(said) == 39
    assert min(said.values()) > 30


def test_kokoro_can_pronounce_every_word() -> None:
    if not engines.kokoro_available():
        pytest.skip("Kokoro's packages are not installed")
    for word in sorted(vocabulary()):
        assert engines.pronounce(word)


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(InputError):
        spoken_words("... 12 !")
