"""Moods, as faces show them."""

from __future__ import annotations

from typing import Literal

from talkies.domain.expression import EXPRESSION
from talkies.domain.face_units import sides_of

Mood = Literal["neutral", "happy", "serious", "sad", "surprised", "annoyed"]
MOODS: tuple[Mood, ...] = ("neutral", "happy", "serious", "sad", "surprised", "annoyed")

#: Standing expression of each mood in face units (names as of `sides_of`).
MOOD_UNITS: dict[Mood, dict[str, float]] = {
    "neutral": {"mouthSmile*": 0.06},
    "happy": {"mouthSmile*": 0.34, "cheekSquint*": 0.22, "eyeSquint*": 0.10, "browOuterUp*": 0.06},
    "serious": {"browDown*": 0.16, "eyeSquint*": 0.05},
    "sad": {"browInnerUp": 0.42, "mouthFrown*": 0.26, "eyeSquint*": 0.04},
    "surprised": {"browInnerUp": 0.35, "browOuterUp*": 0.38, "eyeWide*": 0.30},
    "annoyed": {"browDown*": 0.42, "noseSneer*": 0.14, "eyeSquint*": 0.16, "mouthFrown*": 0.08},
}
ONSET = 0.5  # seconds in which a mood appears
WHILE_SPEAKING = 0.55  # what is left at the mouth then: a smile spreads the lips and would fight the vowels


def mood_expression(mood: Mood) -> tuple[float, ...]:
    """A mood in the eight numbers of `talkies.domain.expression`, nobody speaking."""
    units = {unit: value for name, value in MOOD_UNITS[mood].items() for unit in sides_of(name)}
    return tuple(sum(weight * units.get(unit, 0.0) for unit, weight in sums.items()) for sums in EXPRESSION.values())
