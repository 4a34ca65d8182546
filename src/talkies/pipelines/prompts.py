"""Prompts as the text encoder gets them: cleaned, and of every segment by what is to happen in it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from talkies.domain.clip import FPS, FrameSize
from talkies.domain.directions import Cue, with_cues
from talkies.domain.own_words import own_words
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

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal texts, and hashable."""
        return (self.everybody, *self.own.items())


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


def apart(prompt: str | Sequence[str], places: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """What each person reads of a prompt that tells of several (`own_words`); nothing where all read all of it.

    Args:
        prompt: One text, or one per sample.
        places: The people from left to right.

    Returns:
        By person; one text per sample.
    """
    texts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    by_place = [own_words(text, len(places)) for text in texts]
    own = {person: tuple(words[place] for words in by_place) for place, person in enumerate(places)}
    return own if any(words != texts for words in own.values()) else {}


def segment_texts(
    prompt: str | Sequence[str],
    cues: Iterable[Cue],
    segments: Iterable[Segment],
    people: int,
    own: Mapping[int, tuple[str, ...]] | None = None,
    fits: Callable[[str], bool] = lambda text: True,
) -> dict[int, SegmentTexts]:
    """Prompts of the segments in which not everybody reads the prompt and nothing else.

    Args:
        prompt: One text, or one per sample.
        cues: What happens when.
        segments: Of the video.
        people: With one person, everything is for everybody.
        own: Instead of the prompt, by person, as of `apart`.
        fits: Whether a text can be read to its end; prompts are shortened until it can.

    Returns:
        By the segment's index.
    """
    texts, cues, own, found = (prompt,) if isinstance(prompt, str) else tuple(prompt), list(cues), own or {}, {}
    for segment in segments:
        on = cues_during(segment, cues)
        addressed = {cue.person for cue in on if cue.person is not None and people > 1}

        def told(person: int | None, on: list[Cue] = on, addressed: set[int] = addressed) -> tuple[str, ...]:
            heard = [cue for cue in on if cue.person not in addressed or cue.person == person]
            mine = texts if person is None else own.get(person, texts)
            return tuple(with_cues(text, heard, fits) for text in mine)

        owners = addressed | set(own)
        if on or own:
            found[segment.index] = SegmentTexts(told(None), {person: told(person) for person in sorted(owners)})
    return found
