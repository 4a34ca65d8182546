from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.stage.identity import FIRST_TEST_SEED, HAIR_STYLES, TARGET_LIMIT, Identity


@given(seed=st.integers(0, 2 * FIRST_TEST_SEED))
@settings(max_examples=60, deadline=None)
def test_people_stay_within_human_limits(seed: int) -> None:
    person = Identity.sample(seed)
    assert all(0 <= weight <= TARGET_LIMIT for _, weight in person.shape)
    assert 18 <= person.age <= 75
    assert person.weight <= 0.6
    assert sum(person.ancestry) == pytest.approx(1)
    assert person.hair.style in HAIR_STYLES
    assert person.sex == "male" or person.hair.beard == person.hair.moustache == 0
    assert person.split == ("test" if seed >= FIRST_TEST_SEED else "train")


def test_a_seed_is_a_person() -> None:
    assert Identity.sample(7) == Identity.sample(7)
    assert len({Identity.sample(seed) for seed in range(200)}) == 200


def test_everyone_occurs() -> None:
    people = [Identity.sample(seed) for seed in range(400)]
    assert {person.hair.style for person in people} == set(HAIR_STYLES)
    assert 0.4 < sum(person.sex == "female" for person in people) / 400 < 0.6
    tones = sorted(person.skin.tone for person in people)
    assert tones[40] < 0.25 and tones[360] > 0.6
    assert 0.08 < sum(person.outfit.glasses for person in people) / 400 < 0.4
