"""`talkies voices`: the synthetic voices of this machine; and texts of a conversation spoken by them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from talkies.domain.conversation import Speaker
    from talkies.media.speech_synthesis.synthesizer import Synthesizer

#: A command of the user's own that speaks texts; see `talkies.media.speech_synthesis.command`.
COMMAND_VARIABLE = "TALKIES_SPEECH_COMMAND"
#: espeak-ng has a hundred variants; as many as this are listed unless all are asked for.
_LISTED = 17


@lru_cache(maxsize=1)
def synthesizer() -> Synthesizer:
    """The speech engines of this machine and of the environment.

    Raises:
        InputError: The user's own command cannot be used.
    """
    from talkies.media.speech_synthesis.synthesizer import Synthesizer

    return Synthesizer.of_machine(os.environ.get(COMMAND_VARIABLE))


def speak(text: str, speaker: Speaker, person: int, path: Path) -> tuple[Path, str]:
    """Speaks a text into a wav file.

    Args:
        text: What to say.
        speaker: Their voice and language count.
        person: Their position, which chooses a voice where none is named.
        path: The file to write.

    Returns:
        The file, and a note for the user when another voice than the one named had to speak.

    Raises:
        InputError: The language is unknown, or the text cannot be spoken.
        MissingDependencyError: No speech engine is installed.
    """
    from talkies.domain.errors import InputError

    engines = synthesizer()
    try:
        voice, note = engines.choose(speaker.voice, speaker.language, person)
        engines.write(text, voice, speaker.language, path)
    except InputError as error:
        raise InputError(f"The text of {speaker.name!r} cannot be spoken: {error.args[0]}", error.hint) from None
    return path, note


def voices(
    language: Annotated[
        str | None, typer.Argument(help="As in en-gb, ja: the voices for it; without one, the languages.")
    ] = None,
    say: Annotated[str | None, typer.Option(help="Speak this text into --output.")] = None,
    voice: Annotated[str | None, typer.Option(help="Voice that speaks --say.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "--out", "-o", help="Sound file for --say, wav.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List every variant of espeak-ng.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the synthetic voices, or try one."""
    import json

    from talkies.domain.errors import InputError

    engines = synthesizer()
    if say is not None:
        _try(engines, say, voice, language or "en", output)
        return
    if language is None:
        known = engines.languages()
        if as_json:
            typer.echo(json.dumps(known, ensure_ascii=False))
            return
        for code, name in known.items():
            typer.echo(f"{code:18}{name}")
        typer.echo("The voices of one language: talkies voices CODE", err=True)
        return
    found = engines.voices(language)
    if not found:
        raise InputError(f"No voice speaks {language!r}.", "`talkies voices` lists the languages.")
    if as_json:
        typer.echo(json.dumps([vars(entry) for entry in found], ensure_ascii=False))
        return
    shown = found if everything else found[:_LISTED]
    for entry in shown:
        typer.echo(f"{entry.name:18}{entry.engine:10}{entry.gender}".rstrip())
    if len(found) > len(shown):
        typer.echo(f"and {len(found) - len(shown)} more: --all", err=True)


def _try(engines: Synthesizer, text: str, wanted: str | None, language: str, output: Path | None) -> None:
    from talkies.domain.errors import InputError
    from talkies.media.staging import staged

    if output is None or output.suffix.lower() != ".wav":
        raise InputError("--say needs a sound file to write.", "Add --output hello.wav")
    chosen, note = engines.choose(wanted, language, 0)
    with staged(output) as temporary:
        speech = engines.write(text, chosen, language, temporary)
    if note:
        typer.echo(note, err=True)
    typer.echo(f"{output}: {speech.seconds:.2f} s, {chosen.label}", err=True)
