"""What happens when: words that join the prompt for a part of the video."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cue:
    """Words for a part of the video.

    Attributes:
        text: A sentence.
        start, end: Seconds from the start of the video.
        person: Whose words they are, 0-based: nobody else's part of the picture reads them. None: everybody's.
    """

    text: str
    start: float
    end: float
    person: int | None = None


def with_cues(prompt: str, cues: Iterable[Cue]) -> str:
    """The prompt, then the words of cues in order of time."""
    return " ".join([prompt, *(cue.text for cue in sorted(cues, key=lambda cue: cue.start))])
