"""`--script`: a dialogue in a text file becomes speakers and turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from talkies.domain.conversation import Conversation
from talkies.domain.dialogue import MAX_CHARACTERS, Script, key, read_script
from talkies.domain.errors import InputError


def read(path: Path) -> Script:
    """Reads a script from a text file.

    Raises:
        InputError: The file cannot be read, is no text, or no script.
    """
    try:
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            raise InputError(f"{path.name} is too large for a script.")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not a text file.", "A script is plain text in UTF-8.") from None
    except OSError as error:
        raise InputError(f"The script {path} cannot be read: {error.strerror or error}.") from None
    try:
        return read_script(text)
    except InputError as error:
        raise InputError(f"{path.name}: {error.args[0]}", error.hint) from None


def scripted(script: Script, image: Path | None, base: Conversation | None) -> dict[str, Any]:
    """Fields of a conversation that plays a script.

    Args:
        script: Who says what.
        image: The picture; None keeps the file's.
        base: A conversation file whose speakers, found by their names, keep region, voice and language.

    Raises:
        InputError: There is no picture, or the script names somebody the file does not have.
    """
    fields = script.fields()
    if base is None:
        if image is None:
            raise InputError("A script needs a picture.", "Add --image photo.png")
        return {"image": image, **fields}
    actors = {key(actor.name): (actor, spoken) for actor, spoken in zip(script.cast, fields["speakers"], strict=True)}
    names = {key(speaker.name): speaker.name for speaker in base.speakers}
    for unknown in actors.keys() - names.keys():
        raise InputError(
            f"The script's {actors[unknown][0].name!r} is no speaker of the conversation file.",
            f"Its speakers: {', '.join(names.values())}.",
        )
    speakers = []
    for speaker in base.speakers:
        own = speaker.model_dump(exclude_unset=True, exclude={"audio", "text"})
        if key(speaker.name) in actors:
            actor, spoken = actors[key(speaker.name)]
            own = spoken | own | ({name: spoken[name] for name in ("voice", "language")} if actor.voice else {})
        speakers.append(own | {"name": speaker.name})
    turns = [turn | {"speaker": names[key(turn["speaker"])]} for turn in fields["turns"]]
    kept = base.model_dump(exclude_unset=True) | ({} if image is None else {"image": image})
    return kept | {"speakers": speakers, "turns": turns}
