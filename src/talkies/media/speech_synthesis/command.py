"""The user's own speech program: any command that reads a text and writes a sound file."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from talkies.domain.errors import InputError
from talkies.media.audio import decode
from talkies.media.speech_synthesis.engine import Speech, Voice, run

_RATE = 24_000
_PLACES = ("output", "voice", "language")
#: What a voice's name may be made of, since it becomes an argument: no path, no leading dash.
_SAFE = re.compile(r"[\w][\w.+-]{0,79}")


class Command:
    """Runs an argument list for every text, without a shell.

    Args:
        template: As typed in a shell, like `piper --model {voice}.onnx --output_file {output}`. The text comes on
            standard input; `{output}` is the sound file to write, `{voice}` and `{language}` what was asked for.

    Raises:
        InputError: The template cannot be split, or has no `{output}`.
    """

    name = "own"

    def __init__(self, template: str) -> None:
        try:
            self._arguments = shlex.split(template)
        except ValueError as error:
            raise InputError(f"The speech command cannot be understood: {error}.") from None
        if not any("{output}" in argument for argument in self._arguments):
            raise InputError(
                "The speech command has no {output}, the sound file to write.",
                "As in: piper --model voice.onnx --output_file {output}",
            )

    def languages(self) -> Mapping[str, str]:
        """Nothing it would say of itself: it is asked for whatever comes."""
        return {}

    def voices(self, language: str) -> Sequence[Voice]:
        """One; names of more follow a colon, as in `own:ryan`."""
        return (Voice(self.name, self.name, "own command"),)

    def speak(self, text: str, voice: Voice, language: str) -> Speech:
        """Reads whatever kind of sound file was written."""
        name = voice.name.partition(":")[2] or "default"
        for value in (name, language):
            if not _SAFE.fullmatch(value):
                raise InputError(f"{value!r} cannot be the name of a voice or a language.")
        with tempfile.TemporaryDirectory(prefix="talkies-speech-") as folder:
            output = Path(folder) / "speech.wav"
            filled = dict(zip(_PLACES, (str(output), name, language), strict=True))
            run([_fill(argument, filled) for argument in self._arguments], text)
            if not output.is_file():
                raise InputError(f"{self._arguments[0]} wrote no sound to {{output}}.")
            blocks = [block[:, 0] for block in decode(output, _RATE)]
        return Speech(np.concatenate(blocks) if blocks else np.zeros(0, np.float32), _RATE)


def _fill(argument: str, values: Mapping[str, str]) -> str:
    for place, value in values.items():
        argument = argument.replace(f"{{{place}}}", value)
    return argument
