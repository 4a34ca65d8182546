"""Prompt following: whether the gestures of heads that were asked for are seen, in the right person, and no others.

Gestures of arms are not judged: nothing that looks at faces can see them.
"""

from __future__ import annotations

import numpy as np

from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.networks.head_gestures import NAMES
from talkies.evaluation.sample import Observation
from talkies.evaluation.seen_gestures import SeenGesture, gestures_of


def measure(seen: Observation) -> dict[str, float]:
    """See the columns. A gesture that is asked of one person and made by another is mistaken, not done."""
    found: list[list[SeenGesture]] = [gestures_of(face) for face in seen.found_faces]
    made = [{gesture.name for gesture in gestures} for gestures in found]
    asked = [{gesture.name for gesture in person.asked if gesture.name in NAMES} for person in seen.sample.people]
    done = [name in made[k] for k, names in enumerate(asked) for name in names]
    mistaken = [
        any(name in other and name not in asked[j] for j, other in enumerate(made) if j != k)
        for k, names in enumerate(asked)
        for name in names
    ]
    unasked = [bool(here - wanted) for here, wanted in zip(made, asked, strict=True)]
    late = [
        (gesture.first + gesture.last + 1) / 50 - wanted.middle
        for k, person in enumerate(seen.sample.people)
        for wanted in person.asked
        if wanted.middle is not None
        for gesture in found[k]
        if gesture.name == wanted.name
    ]
    return {
        "gestures done": _mean(done),
        "gestures mistaken": _mean(mistaken),
        "gestures unasked": _mean(unasked),
        "gesture delay": _mean(late),
    }


def _mean(values: list[bool] | list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


PROMPT = Metric(
    name="prompt",
    columns=(
        Column("gestures done", "higher", "", "share of the head gestures asked for that are seen in the right person"),
        Column("gestures mistaken", "lower", "", "share of them that somebody else makes who was not asked to"),
        Column("gestures unasked", "lower", "", "share of people who make a head gesture that was not asked of them"),
        Column("gesture delay", "zero", "s", "from the middle of the gesture asked for, where that is known"),
    ),
    needs="people of whom is known what gestures were asked (the stage's sets)",
    measure=measure,
    weights="MediaPipe Face Mesh (Apache-2.0) and head gestures fitted to the stage (Apache-2.0), included",
    source="classes and strokes of `talkies stage render`; strokes as in Kendon (2004)",
)
