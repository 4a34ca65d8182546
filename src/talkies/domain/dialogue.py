"""Dialogue scripts: "Ana: Hello! / Ben: Hi." in any writing system, read into speakers and turns."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from talkies.domain.conversation import MAX_DOES, MAX_SPEAKERS, MAX_TURNS
from talkies.domain.errors import InputError

#: A script is a few pages of text: more characters than this are refused.
MAX_CHARACTERS = 500_000
MAX_NAME = 40
MAX_PAUSE = 60.0
#: Silence between two lines where the script says nothing else, in seconds: about what people leave in talk.
DEFAULT_PAUSE = 0.25

#: Colons of the world's scripts: Latin, full width, small, Armenian-style and Ethiopic preface colon.
_COLONS = r":\uff1a\ufe55\u0589\u1366"
_NOT_IN_NAMES = r"\n\[\]()<>{}\"\u201c\u201d\u00ab\u00bb,;!?\u3002\u3001\uff01\uff1f\u2026\u0964\u061f"
#: A name may not hold what ends sentences or quotes: such a line goes on with what was said before.
_NAME = re.compile(
    rf"\s*([^{_COLONS}{_NOT_IN_NAMES}]{{1,{MAX_NAME}}}?)\s*[{_COLONS}](.*)",
    re.DOTALL,
)
_CUE = re.compile(r"\[\s*(pause|overlap)(?:\s+(\d+(?:[.,]\d+)?)\s*s?)?\s*\]", re.IGNORECASE)
_UNSPOKEN = re.compile(r"\[([^\]\n]*)\]")
_CAST = re.compile(r"\s*@\s*([^=]+?)\s*=\s*(.*)")

#: First letter's writing system (as Unicode names it) and the language most often written with it.
_WRITING = (
    ("HIRAGANA", "ja"), ("KATAKANA", "ja"), ("HANGUL", "ko"), ("CJK", "cmn"), ("CYRILLIC", "ru"), ("GREEK", "el"),
    ("ARABIC", "ar"), ("HEBREW", "he"), ("DEVANAGARI", "hi"), ("BENGALI", "bn"), ("TAMIL", "ta"), ("TELUGU", "te"),
    ("KANNADA", "kn"), ("MALAYALAM", "ml"), ("GUJARATI", "gu"), ("GURMUKHI", "pa"), ("THAI", "th"), ("MYANMAR", "my"),
    ("SINHALA", "si"), ("GEORGIAN", "ka"), ("ARMENIAN", "hy"), ("ETHIOPIC", "am"),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One thing said, or done without a word.

    Attributes:
        speaker: Position in the script's cast, 0-based.
        text: What is spoken, stage directions left out; "" for a reaction.
        does: The stage directions, joined: what the speaker does meanwhile.
        pause: Seconds of silence before it; negative: it begins before the line before is over.
    """

    speaker: int
    text: str
    pause: float = DEFAULT_PAUSE
    does: str = ""


@dataclass(frozen=True)
class Actor:
    """One of the cast, in order of appearance.

    Attributes:
        name: As written the first time.
        voice: From an `@ Name = voice` line; None leaves the choice.
        language: From the same line, or from the writing system of what they say.
    """

    name: str
    voice: str | None = None
    language: str = "en"


@dataclass(frozen=True)
class Script:
    """A read script: who takes part, and what they say in which order."""

    cast: tuple[Actor, ...]
    lines: tuple[Line, ...]

    def fields(self) -> dict[str, Any]:
        """The speakers and turns of a `Conversation`, as its fields."""
        speakers = [
            {"name": actor.name, "language": actor.language} | ({"voice": actor.voice} if actor.voice else {})
            for actor in self.cast
        ]
        turns = [
            {"speaker": self.cast[line.speaker].name, "pause": line.pause}
            | ({"text": line.text} if line.text else {})
            | ({"does": line.does} if line.does else {})
            for line in self.lines
        ]
        return {"speakers": speakers, "turns": turns}


@dataclass
class _Reading:
    """What is known after some lines."""

    names: list[str] = field(default_factory=list)
    said: list[Line] = field(default_factory=list)
    voices: dict[str, tuple[str, str]] = field(default_factory=dict)  # the name as written, and its voice
    pause: float = DEFAULT_PAUSE
    current: int | None = None
    fresh: bool = True

    def cast(self, name: str) -> int:
        """Position of a name, given one at its first appearance."""
        known = [key(entry) for entry in self.names]
        if key(name) not in known:
            self.names.append(name)
            return len(known)
        return known.index(key(name))


def key(name: str) -> str:
    """What two spellings of one name have in common: case, width and spaces do not count."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def guess_language(text: str) -> str:
    """The language most often written as most letters of `text` are; English where Latin letters leave it open.

    Kana decide for Japanese, to which Han characters belong then: Chinese shares them.
    """
    names = [unicodedata.name(letter, "") for letter in text[:2000] if letter.isalpha()]
    written = Counter(
        next((language for start, language in _WRITING if name.startswith(start)), "en") for name in names
    )
    if written["ja"]:
        written["ja"] += written.pop("cmn", 0)
    language, count = max(written.items(), key=lambda item: item[1], default=("en", 0))
    return language if 2 * count > len(names) else "en"


def read_script(text: str) -> Script:
    """Reads a dialogue.

    A line `Name: words` is said by that person; a line without a name goes on with the one before. `[pause 1.5]` and
    `[overlap 0.3]` set the seconds before what follows; other words in square brackets say what the speaker does
    meanwhile (`[nods]`) and are not spoken. Alone (`Ben: [nods]`) they are a reaction, for which nobody waits.
    `@ Name = voice, language` casts a voice; lines that begin with `#` are comments.

    Args:
        text: The script, lines separated by any newline.

    Raises:
        InputError: Nobody says anything, words stand before the first name, or a limit is exceeded; names the line.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"The script is longer than {MAX_CHARACTERS:,} characters.", "Make several videos of it.")
    reading = _Reading()
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        _read_line(line, number, reading)
    if not any(line.text for line in reading.said):
        raise InputError("Nobody says anything in the script.", "Write one line for each turn, as in `Ana: Hello!`")
    for name, _ in reading.voices.values():
        if key(name) not in map(key, reading.names):
            raise InputError(f"`@ {name} = ...` casts somebody who says nothing in the script.", "Is it a misprint?")
    if len(reading.said) > MAX_TURNS:
        raise InputError(f"The script has more than {MAX_TURNS:,} turns.", "Make several videos of it.")
    cast = tuple(_actor(index, name, reading) for index, name in enumerate(reading.names))
    return Script(cast, tuple(reading.said))


def _read_line(line: str, number: int, reading: _Reading) -> None:
    if not line.strip() or line.lstrip().startswith("#"):
        reading.fresh = reading.fresh or not line.strip()
        return
    casting = _CAST.fullmatch(line)
    if casting:
        reading.voices[key(casting[1])] = casting[1], casting[2].strip()
        return
    named = _named(line)
    if named is not None:
        reading.current = reading.cast(named[0])
        if len(reading.names) > MAX_SPEAKERS:
            raise InputError(
                f"Line {number}: {named[0]!r} would be speaker {MAX_SPEAKERS + 1}; {MAX_SPEAKERS} is the most."
            )
        reading.fresh = True
        line = named[1]
    _speak(line, number, reading)


def _named(line: str) -> tuple[str, str] | None:
    found = _NAME.fullmatch(line)
    if found is None or not any(letter.isalpha() for letter in found[1]):
        return None
    name, rest = found[1].strip().strip("*_").strip(), found[2]
    # "at 10:30" and "http://..." are no names.
    if not name or rest.startswith("//") or (name[-1].isdigit() and rest[:1].isdigit()):
        return None
    return name, rest.removeprefix("**")


def _speak(words: str, number: int, reading: _Reading) -> None:
    """Adds what is said on one line, cut where a pause stands."""
    position = 0
    for cue in [*_CUE.finditer(words), None]:
        piece = words[position : cue.start() if cue else len(words)]
        spoken = " ".join(_UNSPOKEN.sub(" ", piece).split())
        does = _directions(piece)
        if spoken or (does and reading.current is not None):
            _add(spoken, does, number, reading)
        if cue is None:
            return
        seconds = float((cue[2] or "1").replace(",", "."))
        if seconds > MAX_PAUSE:
            raise InputError(f"Line {number}: a pause of {seconds:g} s; at most {MAX_PAUSE:g} s are allowed.")
        reading.pause = seconds if cue[1].lower() == "pause" else -seconds
        reading.fresh = True
        position = cue.end()


def _directions(piece: str) -> str:
    """What stands in square brackets, as in `nods and smiles`."""
    found = (" ".join(words.split()).rstrip(".") for words in _UNSPOKEN.findall(piece))
    return " and ".join(words for words in found if words)[:MAX_DOES]


def _add(spoken: str, does: str, number: int, reading: _Reading) -> None:
    if reading.current is None:
        raise InputError(f"Line {number}: nobody is named before {spoken[:40]!r}.", "Begin with a name, as in `Ana: …`")
    if not reading.fresh and reading.said:
        before = reading.said[-1]
        both = " and ".join(words for words in (before.does, does) if words)[:MAX_DOES]
        reading.said[-1] = Line(before.speaker, f"{before.text} {spoken}".strip(), before.pause, both)
        return
    first = not reading.said and reading.pause == DEFAULT_PAUSE
    reading.said.append(Line(reading.current, spoken, 0.0 if first else reading.pause, does))
    reading.pause, reading.fresh = DEFAULT_PAUSE, False


def _actor(index: int, name: str, reading: _Reading) -> Actor:
    voice, _, language = (part.strip() for part in reading.voices.get(key(name), ("", ""))[1].partition(","))
    said = " ".join(line.text for line in reading.said if line.speaker == index)
    guessed = guess_language(said)
    if guessed == "cmn":  # a short Japanese line may hold no kana, but the rest of the dialogue does
        guessed = guess_language(" ".join([name, *(line.text for line in reading.said)]))
    return Actor(name, voice or None, language or guessed)
