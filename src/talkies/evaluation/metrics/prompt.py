"""Prompt following: whether the gestures that were asked for are seen, in the right person, and no others.

Heads and arms are two metrics: they are told by different networks, which err differently, and arms are seen only where
a picture shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from talkies.domain.clip import FPS
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.networks import arm_gestures, head_gestures
from talkies.evaluation.sample import AskedGesture, Observation
from talkies.evaluation.seen_gestures import SeenGesture, arm_gestures_of, head_gestures_of

_NEEDS = "people of whom is known what gestures were asked (the stage's sets)"
_SOURCE = "classes and strokes of `talkies stage render`; strokes as in Kendon (2004)"


def heads_of(seen: Observation) -> list[list[SeenGesture]]:
    """Gestures of everybody's head."""
    found: list[list[SeenGesture]] = seen.remember(
        "head gestures", lambda: [head_gestures_of(face) for face in seen.found_faces]
    )
    return found


def arms_of(seen: Observation) -> list[list[SeenGesture]]:
    """Gestures of everybody's arms; decodes the video once."""
    found: list[list[SeenGesture]] = seen.remember(
        "arm gestures", lambda: arm_gestures_of(seen.sample.video, seen.found_faces)
    )
    return found


def _metric(
    name: str,
    part: str,
    names: Sequence[str],
    look: Callable[[Observation], list[list[SeenGesture]]],
    needs: str,
    missing: Callable[[], str] = lambda: "",
) -> Metric:
    def measure(seen: Observation) -> dict[str, float]:
        """See the columns. A gesture that is asked of one person and made by another is mistaken, not done."""
        wishes = [person.asked for person in seen.sample.people if person.asked is not None]
        if len(wishes) < len(seen.sample.people):
            return dict.fromkeys(labels, float("nan"))
        found = look(seen)
        made = [{gesture.name for gesture in gestures} for gestures in found]
        asked = [{gesture.name for gesture in wanted if gesture.name in names} for wanted in wishes]
        done = [name in made[k] for k, wanted in enumerate(asked) for name in wanted]
        mistaken = [
            any(name in other and name not in asked[j] for j, other in enumerate(made) if j != k)
            for k, wanted in enumerate(asked)
            for name in wanted
        ]
        unasked = [bool(here - wanted) for here, wanted in zip(made, asked, strict=True)]
        late = [
            min(delays, key=abs)
            for gestures, own in zip(found, wishes, strict=True)
            for wanted in own
            if (delays := _delays(gestures, wanted))
        ]
        return dict(zip(labels, (_mean(done), _mean(mistaken), _mean(unasked), _mean(late)), strict=True))

    labels = tuple(
        f"{part} {what}" for what in ("gestures done", "gestures mistaken", "gestures unasked", "gesture delay")
    )
    shown = ", ".join(name.replace("_", " ") for name in names)
    done = f"share of the {part} gestures asked for ({shown}) that are seen in the right person"
    unasked = f"share of people who make gestures of the {part} that were not asked of them"
    late = "from the middle of the gesture asked for to that of the nearest one made, where that is known"
    return Metric(
        name=name,
        columns=(
            Column(labels[0], "higher", "", done),
            Column(labels[1], "lower", "", "share of them that others make who were not asked to"),
            Column(labels[2], "lower", "", unasked),
            Column(labels[3], "zero", "s", late),
        ),
        needs=needs,
        measure=measure,
        weights=f"MediaPipe Face Mesh, {part} gestures fitted to the stage (both Apache-2.0), included",
        missing=missing,
        source=_SOURCE,
    )


def _delays(made: Sequence[SeenGesture], wanted: AskedGesture) -> list[float]:
    """Seconds by which gestures like the one wanted come late; empty where nobody knows when it should happen."""
    if wanted.middle is None:
        return []
    return [(one.first + one.last + 1) / (2 * FPS) - wanted.middle for one in made if one.name == wanted.name]


def _mean(values: list[bool] | list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


PROMPT = _metric("prompt", "head", head_gestures.NAMES, heads_of, _NEEDS)
PROMPT_ARMS = _metric(
    "prompt-arms", "arm", arm_gestures.NAMES, arms_of, f"{_NEEDS}; arms in the picture", arm_gestures.missing
)
