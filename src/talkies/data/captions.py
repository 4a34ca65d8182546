"""Captions of footage: plain sentences from what is known; a model that sees can be handed in instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

_COUNTS = {1: "one person", 2: "two people", 3: "three people", 4: "four people"}
_FRAMINGS = {"close-up": "a close-up", "head and shoulders": "a head-and-shoulders shot", "waist-up": "a medium shot"}


@dataclass(frozen=True)
class Seen:
    """What is known of a clip before it is described.

    Attributes:
        picture: Its middle frame. framing: `close-up`, `head and shoulders` or `waist-up`.
        speakers: Per person, left to right, whether they speak at all.
    """

    picture: Image.Image
    framing: str
    speakers: tuple[bool, ...]


class Describe(Protocol):
    """Gives a clip its captions, paraphrases of each other. Must be picklable: it travels to workers."""

    def __call__(self, seen: Seen) -> tuple[str, ...]:
        """At least one caption. Raises TalkiesError where it fails."""


def who_does_what(speakers: tuple[bool, ...]) -> str:
    """`The person on the left is talking. The person on the right is listening.`"""
    places = {1: [""], 2: [" on the left", " on the right"], 3: [" on the left", " in the middle", " on the right"]}
    ordinals = [" on the far left", " on the left", " on the right", " on the far right"]
    where = places.get(len(speakers), ordinals if len(speakers) == 4 else [f" number {k + 1}" for k in
                                                                          range(len(speakers))])  # fmt: skip
    return " ".join(
        f"The person{place} is {'talking' if speaks else 'listening'}."
        for place, speaks in zip(where, speakers, strict=True)
    )


@dataclass(frozen=True)
class PlainCaptions:
    """Number of people, framing, and who speaks."""

    def __call__(self, seen: Seen) -> tuple[str, ...]:
        count = len(seen.speakers)
        people = _COUNTS.get(count, f"{count} people")
        verb = "is talking" if count == 1 else "are talking to each other"
        shot = _FRAMINGS[seen.framing]
        action = who_does_what(seen.speakers)
        first = f"{people.capitalize()} {verb}, in {shot}."
        if count > 1:
            return first, f"{shot.capitalize()} of {people} in conversation.", f"{first} {action}"
        return first, f"{shot.capitalize()} of {people}. {action}"
