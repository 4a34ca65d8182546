"""Captions of scenes that nobody films: text to learn words from, and words for performers filmed one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.moods import MOODS
from talkies.domain.own_words import own_words
from talkies.domain.performer import Performer
from talkies.stage.background import KINDS
from talkies.stage.captions import PersonWords, SceneWords, describe
from talkies.stage.clips import SETS, person_words, plan_clip
from talkies.stage.dialogue import PATTERNS
from talkies.stage.gestures import GESTURES
from talkies.stage.identity import Identity
from talkies.stage.motion import Role, Style

#: Ways to put captions of performers, as `describe` numbers them: mostly what is done, rarely how everybody looks.
_PLANS = (2, 2, 4, 4, 4, 1, 0, 3)


def sample_captions(set_name: str, first: int, count: int) -> tuple[str, ...]:
    """Captions of clips `first` to `first + count - 1` of a set, moods, roles and places drawn anew for each.

    Raises:
        InputError: A clip that does not exist.
    """
    return tuple(_caption(set_name, index) for index in range(first, first + count))


def _caption(set_name: str, index: int) -> str:
    plan = plan_clip(SETS[set_name], index)
    rng = np.random.default_rng([0x7E87, plan.seed])
    roles: list[Role] = ["speaker", "speaker", "listener", "idle"]
    people = []
    for number, seed in enumerate(plan.seeds):
        role: Role = roles[int(rng.integers(len(roles)))] if plan.spec.speech else "listener"
        people.append(person_words(Identity.sample(seed), None, Style.sample(rng), role, plan.wishes[number]))
    words = _scene(people, plan.light.name, plan.layout.framing, plan.spec.speech, rng)
    return describe(words, rng, 1)[0]


def _scene(people: list[PersonWords], light: str, framing: str, speech: bool, rng: np.random.Generator) -> SceneWords:
    places = [place for place, _ in KINDS.values()]
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))] if speech and len(people) > 1 else None
    return SceneWords(tuple(people), places[int(rng.integers(len(places)))], light, framing, pattern)


#: What `draw_statements` tells of a person: gestures, moods but the neutral one, whether they speak.
STATEMENTS = (*GESTURES, *MOODS[1:], "speaks")


def draw_statements(abouts: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> tuple[str, NDArray[np.float32]]:
    """What one of one to three performers who do anything reads of their caption, and what is true of them.

    Args:
        abouts: Labels `meta` of tracks to draw performers from.
        rng: Everything that is chosen.

    Returns:
        Own words, and `[16]` of 0 and 1 in the order of `STATEMENTS`.
    """
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.65, 0.15]))
    performers, truths = [], []
    for _ in range(count):
        about = abouts[int(rng.integers(len(abouts)))]
        mood = MOODS[int(rng.integers(len(MOODS)))]
        gestures = tuple(
            int(n) for n in 1 + rng.permutation(len(GESTURES))[: int(rng.choice([0, 1, 2], p=[0.4, 0.5, 0.1]))]
        )
        performers.append(Performer({**about, "words": {**about["words"], "mood": mood}}, gestures, True))
        done = {GESTURES[number - 1] for number in gestures}
        speaks = about["words"]["role"] == "speaker"
        truths.append([name in done or name == mood or (name == "speaks" and speaks) for name in STATEMENTS])
    person = int(rng.integers(count))
    own = own_words(caption_performers(performers, rng), count)[person]
    return own, np.array(truths[person], np.float32)


def caption_performers(performers: Sequence[Performer], rng: np.random.Generator) -> str:
    """A caption of performers filmed one by one and put side by side, left to right; the place is anywhere."""
    people = []
    for performer in performers:
        told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in performer.about["words"].items()}
        told["gestures"] = tuple(GESTURES[number - 1] for number in performer.gestures)
        person = PersonWords(**told)
        people.append(person if performer.in_mood else replace(person, mood="neutral"))
    light = performers[int(rng.integers(len(performers)))].about["light"]["name"]
    speech = any(person.role == "speaker" for person in people)
    words = _scene(people, light, "head and shoulders", speech, rng)
    return describe(words, rng, 1, (_PLANS[int(rng.integers(len(_PLANS)))],), by_place=0.7)[0]
