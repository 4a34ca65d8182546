"""What happens when: words that join the prompt for a part of the video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """As many of the first sentences of `text` as fit; of a first one that does not fit, as many words."""
    if fits(text):
        return text
    parts = re.split(r"(?<=[.!?;])\s+", text.strip())
    parts = parts if fits(parts[0]) else text.split()
    kept = 0
    while kept < len(parts) and fits(" ".join(parts[: kept + 1])):
        kept += 1
    return " ".join(parts[:kept])


def with_cues(prompt: str, cues: Iterable[Cue], fits: Callable[[str], bool] = lambda text: True) -> str:
    """The prompt, then the words of cues in order of time. Where both together are too long, the prompt is shortened:
    it is the cues that a reader of the first words alone would never see."""
    words = " ".join(cue.text for cue in sorted(cues, key=lambda cue: cue.start))
    if not words:
        return prompt
    return f"{shortened(prompt, lambda part: fits(f'{part} {words}'))} {words}".strip()
