"""Prompts as the text encoder gets them: cleaned, and of every segment by what is to happen in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from talkies.domain.clip import FPS
from talkies.domain.directions import Cue, prompt_between
from talkies.sampling.segments import Segment


def clean_prompt(text: str) -> str:
    """Mends broken Unicode, resolves HTML entities and joins white space, as Wan's own pipeline does."""
    import ftfy

    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text)))).strip()


def segment_texts(
    prompt: str | Sequence[str], cues: Iterable[Cue], segments: Iterable[Segment]
) -> dict[int, list[str]]:
    """Prompts of the segments in which something else is to happen than everywhere.

    Args:
        prompt: One text, or one per sample.
        cues: What happens when.
        segments: Of the video.

    Returns:
        By the segment's index: one text, or one per sample.
    """
    texts, cues, found = [prompt] if isinstance(prompt, str) else list(prompt), list(cues), {}
    for segment in segments:
        start, end = (frame / FPS for frame in (segment.first_kept, segment.first_kept + segment.kept_frames))
        directed = [prompt_between(text, cues, start, end) for text in texts]
        if directed != texts:
            found[segment.index] = directed
    return found
