"""The conversation: one picture, the people in it, who says what and when. The only thing a user has to write down."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from talkies.domain.liveliness import Liveliness

#: More people than this in one picture are refused: their faces would be smaller than a token.
MAX_SPEAKERS = 32
MAX_TURNS = 10_000
MAX_DIRECTIONS = 1_000
#: Characters of what somebody does: nothing says so much with a nod.
MAX_DOES = 300
#: How long what somebody does lasts where nothing is said about it, in seconds.
DIRECTION_SECONDS = 2.0
#: Nothing longer is generated in one go, in seconds (a day).
MAX_SECONDS = 86_400.0

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Prompt = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]
Direct = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_DOES)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
Second = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Region(_Strict):
    """Where a person is. Exactly one of the three; without a region people are found and taken left to right."""

    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = Field(
        None,
        description="[left, top, right, bottom] in pixels of the picture: x to the right, y down, ends excluded.",
    )
    mask: Path | None = Field(None, description="A picture of the same size: white where the person is.")
    point: tuple[Pixel, Pixel] | None = Field(
        None, description="[x, y] in pixels: a point on the person's face or body."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Region:
        given = [name for name in ("box", "mask", "point") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a region is one of box, mask or point, but {' and '.join(given) or 'none'} is given")
        if self.box is not None:
            left, top, right, bottom = self.box
            if right <= left or bottom <= top:
                raise ValueError(
                    f"box {[left, top, right, bottom]} is empty: it is [left, top, right, bottom], "
                    "so right must exceed left and bottom must exceed top"
                )
        return self


class _Speech(_Strict):
    """What is said: a recording, or a text to be spoken."""

    audio: Path | None = Field(None, description="A recording: any file with sound.")
    text: Text | None = Field(None, description="A text to be spoken by a synthetic voice instead of a recording.")

    @model_validator(mode="after")
    def _one_source(self) -> _Speech:
        if self.audio is not None and self.text is not None:
            raise ValueError("give audio or text, not both")
        return self

    @property
    def says_something(self) -> bool:
        """Whether there is a recording or a text."""
        return self.audio is not None or self.text is not None


class Speaker(_Speech):
    """One person. Without audio, text or a turn of their own they are silent: seen, but never speaking."""

    name: Name = Field(description="How the turns call this person.")
    region: Region | None = Field(None, description="Where the person is; found automatically when left out.")
    voice: Name | None = Field(None, description="Synthetic voice for texts.")
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] = Field(
        "en", description="Language of the texts, as in `en`, `en-gb`, `ja`."
    )
    liveliness: Liveliness | None = Field(
        None, description="How much this person's head moves, 1 on average; drawn when left out."
    )


class Direction(_Strict):
    """Something that happens for a while, beside what the prompt says of all of the video."""

    does: Direct = Field(
        description="With a speaker, what that person does, as in `nods`; without one a sentence about anything."
    )
    speaker: Name | None = Field(None, description="Name of the speaker who does it.")
    start: Second = Field(description="When it begins, in seconds from the start of the video.")
    end: Second | None = Field(None, description="When it is over; two seconds later if left out.")

    @model_validator(mode="after")
    def _lasts(self) -> Direction:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"a direction ends at {self.end:g} s, before it begins at {self.start:g} s")
        return self


class Turn(_Speech):
    """Somebody speaks. Without audio and text it is the speaker's own; without a start it follows the turn before.

    Where the speaker has nothing of their own, `does` alone is a reaction: two seconds that the turns after it do not
    wait for.
    """

    speaker: Name = Field(description="Name of the speaker.")
    start: Second | None = Field(
        None,
        description="When it begins, in seconds from the start of the video; when the turn before ends if left out.",
    )
    does: Direct | None = Field(
        None, description="What the speaker does meanwhile, as in `nods`; alone, a reaction without words."
    )
    pause: Annotated[float, Field(ge=-60, le=MAX_SECONDS, allow_inf_nan=False)] = Field(
        0.0,
        description="Without a start: seconds of silence after the turn before; negative begins before that one ends.",
    )

    @model_validator(mode="after")
    def _one_time(self) -> Turn:
        if self.start is not None and self.pause:
            raise ValueError("give start or pause, not both")
        return self


class Conversation(_Strict):
    """A picture, its people and what they say.

    Paths are kept as written; `talkies.media.conversation_file` reads a file and resolves them.
    """

    image: Path = Field(description="The picture. It becomes the first frame.")
    prompt: Prompt | None = Field(
        None, description="What happens in the video; the picture is captioned when left out."
    )
    negative_prompt: Prompt | None = Field(None, description="What to avoid; the model's own default when left out.")
    speakers: Annotated[tuple[Speaker, ...], Field(min_length=1, max_length=MAX_SPEAKERS)] = Field(
        description="The people, left to right where no region is given."
    )
    turns: Literal["together", "in_turn"] | Annotated[tuple[Turn, ...], Field(min_length=1, max_length=MAX_TURNS)] = (
        Field(
            "together",
            description="`together`: all start at 0. `in_turn`: one after another, in the order of the speakers. "
            "Or a timeline: who speaks which recording from which second.",
        )
    )
    directions: Annotated[tuple[Direction, ...], Field(max_length=MAX_DIRECTIONS)] = Field(
        (), description="What happens when; a model follows it as well as it follows its prompt."
    )
    consent: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = Field(
        None, description="Why these people may be shown speaking, in your words. Kept with the video."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_the_nameless(cls, data: Any) -> Any:
        """Speakers without a name are called speaker 1, speaker 2, ..."""
        if isinstance(data, dict) and isinstance(data.get("speakers"), list | tuple):
            speakers = [
                {"name": f"speaker {index + 1}", **entry} if isinstance(entry, dict) and "name" not in entry else entry
                for index, entry in enumerate(data["speakers"])
            ]
            return {**data, "speakers": speakers}
        return data

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Conversation:
        names = [unicodedata.normalize("NFC", speaker.name) for speaker in self.speakers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two speakers are called {twice[0]!r}: names must differ")
        for index, direction in enumerate(self.directions):
            name = direction.speaker
            if name is not None and unicodedata.normalize("NFC", name) not in names:
                raise ValueError(
                    f"directions[{index}]: there is no speaker {name!r}, only {', '.join(map(repr, names))}"
                )
        if isinstance(self.turns, str):
            scripted = bool(info.context and info.context.get("scripted"))  # a script will say what is said
            if not scripted and not any(speaker.says_something for speaker in self.speakers):
                raise ValueError(
                    "nobody speaks: give at least one speaker an audio file, since it sets the video's length"
                )
            return self
        speakers = dict(zip(names, self.speakers, strict=True))
        for index, turn in enumerate(self.turns):
            speaker = speakers.get(unicodedata.normalize("NFC", turn.speaker))
            if speaker is None:
                raise ValueError(
                    f"turns[{index}]: there is no speaker {turn.speaker!r}, only {', '.join(map(repr, names))}"
                )
            if not turn.says_something and not speaker.says_something and turn.does is None:
                raise ValueError(f"turns[{index}]: neither the turn nor speaker {turn.speaker!r} has audio or text")
        if not any(turn.says_something or speakers[unicodedata.normalize("NFC", turn.speaker)].says_something
                   for turn in self.turns):  # fmt: skip
            raise ValueError("nobody speaks: somebody's turn needs audio or text, since it sets the video's length")
        used = {unicodedata.normalize("NFC", turn.speaker) for turn in self.turns if not turn.says_something}
        for name, speaker in speakers.items():
            if speaker.says_something and name not in used:
                raise ValueError(f"speaker {name!r} has audio of their own, but no turn uses it")
        return self

    def index_of(self, name: str) -> int:
        """Position of the speaker called `name`."""
        wanted = unicodedata.normalize("NFC", name)
        return [unicodedata.normalize("NFC", speaker.name) for speaker in self.speakers].index(wanted)

    def turn_list(self) -> tuple[Turn, ...]:
        """All turns with their speech filled in, in the order given; reactions have none."""
        if isinstance(self.turns, str):
            start = 0.0 if self.turns == "together" else None
            return tuple(
                Turn(speaker=speaker.name, start=start, does=None, pause=0.0, audio=speaker.audio, text=speaker.text)
                for speaker in self.speakers
                if speaker.says_something
            )
        turns = []
        for turn in self.turns:
            own = self.speakers[self.index_of(turn.speaker)]
            turns.append(
                turn if turn.says_something else turn.model_copy(update={"audio": own.audio, "text": own.text})
            )
        return tuple(turns)
