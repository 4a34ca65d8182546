"""When who speaks: the turns of a conversation laid out in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from talkies.domain.conversation import DIRECTION_SECONDS, MAX_SECONDS, Conversation
from talkies.domain.errors import InputError

#: Two recordings of one person may touch within this, in seconds, without counting as overlapping.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Utterance:
    """One recording, placed.

    Attributes:
        person: Position of the speaker in the conversation, 0-based.
        audio: The file.
        start: Seconds from the start of the video.
        duration: Seconds.
        does: What the speaker does meanwhile, or "".
    """

    person: int
    audio: Path
    start: float
    duration: float
    does: str = ""

    @property
    def end(self) -> float:
        """Seconds from the start of the video at which it is over."""
        return self.start + self.duration


@dataclass(frozen=True)
class Reaction:
    """Something done without words.

    Attributes:
        person: Position of who does it in the conversation, 0-based.
        does: What is done.
        start: Seconds from the start of the video.
    """

    person: int
    does: str
    start: float

    @property
    def end(self) -> float:
        """Seconds from the start of the video at which it is over."""
        return self.start + DIRECTION_SECONDS


@dataclass(frozen=True)
class Timeline:
    """A conversation in seconds.

    Attributes:
        utterances: What is said, in order of its start.
        reactions: What is done without words, in the order given.
    """

    utterances: tuple[Utterance, ...]
    reactions: tuple[Reaction, ...] = ()

    @property
    def duration(self) -> float:
        """Length of the video in seconds: until the last utterance and the last reaction are over."""
        return max([utterance.end for utterance in self.utterances] + [reaction.end for reaction in self.reactions])

    def of(self, person: int) -> tuple[Utterance, ...]:
        """What one person says; empty for a silent one."""
        return tuple(utterance for utterance in self.utterances if utterance.person == person)


def lay_out(conversation: Conversation, recordings: Sequence[tuple[Path, float]]) -> Timeline:
    """Places the recordings.

    Args:
        conversation: The conversation.
        recordings: File and length in seconds of every turn of `conversation.turn_list()` that says something, in
            that order (spoken texts have been turned into files by then).

    Raises:
        InputError: One person would speak twice at once, or the whole is longer than a day.
    """
    placed, reactions = [], []
    clock, sound = 0.0, iter(recordings)
    for turn in conversation.turn_list():
        start = max(0.0, clock + turn.pause) if turn.start is None else turn.start
        person, does = conversation.index_of(turn.speaker), turn.does or ""
        if not turn.says_something:
            reactions.append(Reaction(person, does, start))
            clock = max(clock, start)
            continue
        audio, duration = next(sound)
        # A word thrown in while somebody else speaks does not bring the next turn forward.
        clock = max(clock, start + duration) if turn.start is None else start + duration
        placed.append(Utterance(person, audio, start, duration, does))
    said = sorted(placed, key=lambda utterance: (utterance.start, utterance.person))
    timeline = Timeline(tuple(said), tuple(reactions))
    for person, speaker in enumerate(conversation.speakers):
        mine = timeline.of(person)
        for before, after in pairwise(mine):
            if after.start < before.end - TOLERANCE:
                raise InputError(
                    f"{speaker.name!r} would say two things at once: {before.audio.name} lasts until "
                    f"{before.end:.2f} s, {after.audio.name} starts at {after.start:.2f} s.",
                    "Move the start of the second turn.",
                )
    if timeline.duration > MAX_SECONDS:
        raise InputError(f"The conversation lasts {timeline.duration:.0f} s; more than a day is refused.")
    return timeline
