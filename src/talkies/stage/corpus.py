"""Captions of scenes that nobody films: text to learn words from, in seconds instead of hours."""

from __future__ import annotations

import numpy as np

from talkies.stage.background import KINDS
from talkies.stage.captions import SceneWords, describe
from talkies.stage.clips import SETS, person_words, plan_clip
from talkies.stage.dialogue import PATTERNS
from talkies.stage.identity import Identity
from talkies.stage.motion import Role, Style


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
    places = [place for place, _ in KINDS.values()]
    talk = plan.spec.speech and len(people) > 1
    words = SceneWords(
        people=tuple(people),
        place=places[int(rng.integers(len(places)))],
        light=plan.light.name,
        framing=plan.layout.framing,
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))] if talk else None,
    )
    return describe(words, rng, 1)[0]
