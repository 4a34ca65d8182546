"""Whose words are they: of a prompt that tells of several people, what each one's part of the picture reads.

"The woman on the left nods. The man shakes his head." A network that reads both everywhere has to find out by itself
who is meant, and a small one did not (docs/log.md: people did what was asked of their neighbours). So everybody reads
the prompt without the sentences that tell of others alone. Who is meant is told by places ("on the left", "second from
the right", "the left one"), by kinds where only one is of that kind ("the woman"), by what somebody wears or has ("the
man in the red shirt"), and by "she" or "he" after a sentence about one person. What cannot be told, and every other
language than English, is read by everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_UNIT = re.compile(r"[^.!?;]+(?:[.!?;]+[\"')\]]*|$)\s*")
_SHE = ("woman", "lady", "girl", "female", "mother", "sister", "wife", "grandmother")
_HE = ("man", "gentleman", "boy", "guy", "male", "father", "brother", "husband", "grandfather")
_SOMEBODY = "|".join((*_SHE, *_HE, "person", "speaker", "one", "figure", "child"))
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "sixth": 5}
_PLACES = re.compile(
    rf"\b(?:(?P<nth>{'|'.join(_ORDINALS)}|number \d+) (?:person )?from the (?P<side>left|right)"
    r"|on the (?:far |very )?(?P<at>left|right)(?! (?:hand|side of (?!the (?:picture|image|frame|photo))))"
    rf"|(?:the |far )(?P<near>left|right)(?:-hand)? (?:{_SOMEBODY})"
    r"|(?P<most>left|right)most"
    r"|in the (?P<middle>middle|centre|center)(?! of))\b",
    re.IGNORECASE,
)
_KIND = re.compile(rf"\b(a|an|the|another|and|one)\s(?:[\w-]+\s){{0,3}}?({'|'.join((*_SHE, *_HE))})\b", re.IGNORECASE)
_LOOKS = re.compile(r"\b(?:in|with|wearing|wears|dressed in|has)\b(.*)", re.IGNORECASE | re.DOTALL)
_PRONOUN = re.compile(r"^\W*(?:and |then |now |later )*(?:(?P<she>she|her)|he|his)\b", re.IGNORECASE)
_WORD = re.compile(r"[\w-]{3,}")
_COMMON = frozenset(
    ("the", "and", "with", "who", "are", "has", "wearing", "dressed", "wears", "then", "while", "his", "her")
)


def own_words(prompt: str, people: int) -> tuple[str, ...]:
    """For each of `people`, from left to right, the prompt without the sentences that tell of others alone.

    Args:
        prompt: Some sentences; parts between semicolons count as sentences.
        people: How many there are in the picture.

    Returns:
        One text per person; the prompt itself where nothing in it is somebody's own.
    """
    units = _UNIT.findall(prompt)
    owners = _owners(units, people) if people > 1 else []
    if not any(owner is not None for owner in owners):
        return (prompt,) * people
    texts = []
    for person in range(people):
        kept = [unit for unit, owner in zip(units, owners, strict=True) if owner is None or person in owner]
        texts.append("".join(kept).strip() or prompt)
    return tuple(texts)


def _owners(units: list[str], people: int) -> list[frozenset[int] | None]:
    """Of whom each sentence tells; None for what is everybody's."""
    places = [frozenset(_placed(unit, people)) for unit in units]
    kinds, looks = _kinds(units, places, people), _descriptions(units, places, people)
    owners: list[frozenset[int] | None] = []
    for unit, placed in zip(units, places, strict=True):
        owner = placed or _by_appearance(unit, kinds, looks) or _by_pronoun(unit, kinds, owners[-1] if owners else None)
        owners.append(None if owner is not None and len(owner) == people else owner)
    return owners


def _placed(unit: str, people: int) -> Iterator[int]:
    """People of whose places a sentence speaks."""
    for found in _PLACES.finditer(unit):
        side = (found["side"] or found["at"] or found["near"] or found["most"] or "middle").lower()
        steps = _steps(found["nth"]) if found["nth"] else 0
        if side == "middle":
            if people % 2:
                yield people // 2
        elif 0 <= steps < people:
            yield steps if side == "left" else people - 1 - steps


def _steps(ordinal: str) -> int:
    """From the first: "second" and "number 2" are one."""
    return _ORDINALS[ordinal.lower()] if ordinal.lower() in _ORDINALS else int(ordinal.split()[1]) - 1


def _kind(noun: str) -> str:
    return "she" if noun.lower() in _SHE else "he"


def _kinds(units: list[str], places: list[frozenset[int]], people: int) -> list[str | None]:
    """Woman or man, by whoever is named with a place, or by the order in which as many as there are are introduced."""
    found: list[str | None] = [None] * people
    for unit, placed in zip(units, places, strict=True):
        nouns = _KIND.findall(unit)
        if len(placed) == 1 and len(nouns) == 1:
            found[next(iter(placed))] = _kind(nouns[0][1])
    for unit in units[:2]:
        nouns = _KIND.findall(unit)
        if len(nouns) == people and None in found:
            listed = [_kind(noun) for _, noun in nouns]
            found = [own or other for own, other in zip(found, listed, strict=True)]
    return found


def _descriptions(units: list[str], places: list[frozenset[int]], people: int) -> list[frozenset[str]]:
    """Words about everybody's looks, from sentences that say where they are."""
    found: list[set[str]] = [set() for _ in range(people)]
    for unit, placed in zip(units, places, strict=True):
        if len(placed) == 1:
            found[next(iter(placed))] |= _looks(unit)
    return [frozenset(words) for words in found]


def _looks(unit: str) -> set[str]:
    told = _LOOKS.search(unit)
    return {word.lower() for word in _WORD.findall(told[1])} - _COMMON if told else set()


def _by_appearance(unit: str, kinds: list[str | None], looks: list[frozenset[str]]) -> frozenset[int] | None:
    """Whom "the woman" or "the man in the red shirt" means, if only one person answers to it."""
    nouns = [noun for article, noun in _KIND.findall(unit) if article.lower() == "the"]
    if len(nouns) != 1 or None in kinds:
        return None
    candidates = [person for person, kind in enumerate(kinds) if kind == _kind(nouns[0])]
    if len(candidates) > 1:
        told = _looks(unit)
        scores = [len(told & looks[person]) for person in candidates]
        best = max(scores)
        candidates = [p for p, score in zip(candidates, scores, strict=True) if score == best] if best else []
    return frozenset(candidates) if len(candidates) == 1 else None


def _by_pronoun(unit: str, kinds: list[str | None], before: frozenset[int] | None) -> frozenset[int] | None:
    """Whom "she" means: who was just spoken of, or the only woman."""
    told = _PRONOUN.match(unit)
    if told is None:
        return None
    kind = "she" if told["she"] else "he"
    if before is not None and len(before) == 1 and kinds[next(iter(before))] in (kind, None):
        return before
    candidates = [person for person, other in enumerate(kinds) if other == kind]
    return frozenset(candidates) if len(candidates) == 1 and None not in kinds else None
