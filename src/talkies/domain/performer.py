"""One performer filmed alone, as a clip of several shows them: what training finds and the stage puts into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Performer:
    """What a caption may tell of one of a clip's performers.

    Attributes:
        about: The track's label `meta` (`talkies.stage.footage`).
        gestures: As numbered in the track's label `gesture`, in order of time.
        in_mood: Whether the mood can be seen.
    """

    about: Mapping[str, Any]
    gestures: tuple[int, ...]
    in_mood: bool
