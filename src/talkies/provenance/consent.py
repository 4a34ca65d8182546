"""Consent: may these people be shown saying this? Asked once, kept with every video."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass

from talkies.domain.errors import InputError
from talkies.provenance.settings import config_folder

STATEMENT = (
    "I have the consent of the people in my pictures, and of those whose voices I use, to show them speaking, "
    "or they are not real."
)

_FILE = "consent.json"


@dataclass(frozen=True)
class Consent:
    """Who stands for it that the people shown may be shown.

    Attributes:
        statement: In the user's words or in ours.
        given: How: `option`, `conversation`, `asked` or `remembered`.
        date: ISO date on which it was given.
    """

    statement: str
    given: str
    date: str


def today() -> str:
    """ISO date, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def recall() -> Consent | None:
    """What was answered before, if it was."""
    try:
        data = json.loads((config_folder() / _FILE).read_text(encoding="utf-8"))
        return Consent(str(data["statement"]), "remembered", str(data["date"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(consent: Consent) -> None:
    """Keeps the answer, so that it is asked once."""
    folder = config_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fields = {"statement": consent.statement, "date": consent.date}
        (folder / _FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    except OSError:
        return  # a read-only home: it is asked again next time


def find(option: bool, conversation: str | None) -> Consent | None:
    """Consent from the option, the conversation file or an earlier answer, in this order."""
    if option:
        return Consent(STATEMENT, "option", today())
    if conversation is not None:
        return Consent(conversation, "conversation", today())
    return recall()


def missing() -> InputError:
    """The error when nobody was there to be asked."""
    return InputError(
        "Pictures of people need their consent.",
        "If you have it, or nobody in the picture is real, add --i-have-consent or `consent: ...` to the conversation.",
    )
