"""Prompts as the text encoder gets them: cleaned, and of every segment by what is to happen in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from talkies.domain.clip import FPS, FrameSize
from talkies.domain.directions import Cue, with_cues
from talkies.pipelines.settings import GenerationSettings
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


def cues_during(segment: Segment, cues: Iterable[Cue]) -> list[Cue]:
    """Those that are on while a segment's own frames last."""
    start, end = (frame / FPS for frame in (segment.first_kept, segment.first_kept + segment.kept_frames))
    return [cue for cue in cues if cue.start < end and cue.end > start]


def network_calls(
    settings: GenerationSettings, size: FrameSize, segments: Iterable[Segment], cues: Sequence[Cue]
) -> tuple[int, ...]:
    """Network calls per step of each segment: one with cues is guided in its own way, which may take more."""
    plain, own = (len(way.guider().branches) for way in (settings.sampling(size), settings.cue_sampling(size)))
    return tuple(own if cues_during(segment, cues) else plain for segment in segments)


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
        on = cues_during(segment, cues)
        owners = {cue.person for cue in on if cue.person is not None and people > 1}

        def told(person: int | None, on: list[Cue] = on, owners: set[int] = owners) -> tuple[str, ...]:
            heard = [cue for cue in on if cue.person not in owners or cue.person == person]
            return tuple(with_cues(text, heard) for text in texts)

        if on:
            found[segment.index] = SegmentTexts(told(None), {person: told(person) for person in sorted(owners)})
    return found
