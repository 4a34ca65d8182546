"""Prompts as the text encoder gets them: cleaned, and of every segment by what is to happen in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from talkies.domain.clip import FPS
from talkies.domain.directions import Cue, prompt_between
from talkies.sampling.segments import Segment


def clean_prompt(text: str) -> str:
    """Mends broken Unicode, resolves HTML entities and joins white space, as Wan's own pipeline does."""
    import ftfy

    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text)))).strip()


@dataclass(frozen=True)
class SegmentTexts:
    """What is to happen in a segment.

    Attributes:
        everybody: One text, or one per sample.
        own: The same by person, for those who have words of their own.
    """

    everybody: tuple[str, ...]
    own: dict[int, tuple[str, ...]]


def segment_texts(
    prompt: str | Sequence[str], cues: Iterable[Cue], segments: Iterable[Segment], people: int
) -> dict[int, SegmentTexts]:
    """Prompts of the segments in which something else is to happen than everywhere.

    Args:
        prompt: One text, or one per sample.
        cues: What happens when.
        segments: Of the video.
        people: With one person, everything is for everybody.

    Returns:
        By the segment's index.
    """
    texts, cues, found = (prompt,) if isinstance(prompt, str) else tuple(prompt), list(cues), {}
    for segment in segments:
        start, end = (frame / FPS for frame in (segment.first_kept, segment.first_kept + segment.kept_frames))
        on = [cue for cue in cues if cue.start < end and cue.end > start]
        shared = [cue for cue in on if cue.person is None or people < 2]
        everybody = tuple(prompt_between(text, shared, start, end) for text in texts)
        own: dict[int, tuple[str, ...]] = {}
        for person in sorted({cue.person for cue in on if cue.person is not None and people > 1}):
            told = [cue for cue in on if cue in shared or cue.person == person]
            own[person] = tuple(prompt_between(text, told, start, end) for text in texts)
        if on:
            found[segment.index] = SegmentTexts(everybody, own)
    return found
