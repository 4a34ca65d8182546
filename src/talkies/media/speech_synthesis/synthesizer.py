"""All engines of a machine behind one call: which voice speaks, and the sound of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from talkies.domain.errors import InputError, MissingDependencyError
from talkies.media.speech_synthesis.command import Command
from talkies.media.speech_synthesis.engine import Speech, SpeechEngine, Voice
from talkies.media.speech_synthesis.espeak import Espeak
from talkies.media.speech_synthesis.kokoro import Kokoro

#: Letters in a line; a voice would speak for about an hour.
MAX_TEXT = 20_000


class Synthesizer:
    """Chooses among engines.

    Args:
        engines: The preferred one first.
    """

    def __init__(self, engines: Sequence[SpeechEngine]) -> None:
        self._engines = {engine.name: engine for engine in engines}

    @classmethod
    def of_machine(cls, command: str | None = None) -> Synthesizer:
        """The user's own command where given, Kokoro where installed, espeak-ng.

        Raises:
            InputError: The command cannot be used.
        """
        return cls([*([Command(command)] if command else []), Kokoro(), Espeak()])

    def languages(self) -> Mapping[str, str]:
        """Codes and names of everything some engine speaks, by name."""
        known: dict[str, str] = {}
        for engine in reversed(self._engines.values()):
            known.update(engine.languages())
        return dict(sorted(known.items(), key=lambda entry: entry[1]))

    def voices(self, language: str) -> list[Voice]:
        """Every engine's voices for a language, the best first."""
        return [voice for engine in self._engines.values() for voice in engine.voices(language)]

    def choose(self, wanted: str | None, language: str, person: int) -> tuple[Voice, str]:
        """The voice to speak with.

        Args:
            wanted: A name; names no engine here knows (as in other programs' files) choose by their `f_` or `m_`.
            language: As in `en-gb`.
            person: Position in the conversation: chooses by turns where no name does.

        Returns:
            The voice, and a note for the user when it is not the wanted one.

        Raises:
            InputError: Nobody speaks the language.
            MissingDependencyError: No engine is installed.
        """
        voices = self.voices(language)
        if not voices:
            if not self.languages():
                raise MissingDependencyError(
                    "There is no speech engine to speak a text.",
                    "apt-get install espeak-ng (brew install espeak-ng), or give recordings.",
                )
            raise InputError(f"No voice speaks {language!r}.", "`talkies voices` lists languages and voices.")
        if not wanted:
            first = [voice for voice in voices if voice.engine == voices[0].engine]
            return first[person % len(first)], ""
        name = wanted.strip()
        if name.startswith("own:") and "own" in self._engines:
            return Voice(name, "own", "own command"), ""
        plain = name.lower().rpartition("+")[2]
        for voice in voices:
            if voice.name.lower() == plain:
                return voice, ""
        # Many programs' names tell a woman's voice from a man's: af_heart, am_adam.
        gender = {"f": "woman", "m": "man"}.get(plain[1:2] if plain[2:3] == "_" else "")
        fitting = [voice for voice in voices if voice.gender == gender] or voices
        chosen = fitting[person % len(fitting)]
        return chosen, f"There is no voice {wanted!r} for {language!r} here: {chosen.label} speaks instead."

    def speak(self, text: str, voice: Voice, language: str) -> Speech:
        """Speaks a text.

        Raises:
            InputError: It is too long, holds nothing to say, or the engine cannot speak it.
        """
        if len(text) > MAX_TEXT:
            raise InputError(f"A line of {len(text):,} letters is too long; at most {MAX_TEXT:,} are spoken at once.")
        if not any(letter.isalnum() for letter in text):
            raise InputError(f"There is nothing to say in {text[:40]!r}.", "Write words.")
        speech = self._engines[voice.engine].speak(text, voice, language).trimmed()
        if not len(speech.samples) or not np.isfinite(speech.samples).all() or np.abs(speech.samples).max() < 1e-4:
            raise InputError(f"{voice.label} is silent at {text[:40]!r}.", "Is it written in the speaker's language?")
        return speech

    def write(self, text: str, voice: Voice, language: str, path: Path) -> Speech:
        """Speaks a text into a 16-bit wav file.

        Raises:
            InputError: As `speak`.
        """
        import soundfile

        speech = self.speak(text, voice, language)
        soundfile.write(path, np.clip(speech.samples, -1, 1), speech.rate, subtype="PCM_16")
        return speech
