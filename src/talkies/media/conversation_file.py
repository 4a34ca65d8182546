"""Reading a conversation from a YAML or JSON file: checked, with every path resolved and every error in one line."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from talkies.domain.conversation import Conversation, Region, Speaker, Turn
from talkies.domain.errors import InputError
from talkies.domain.official import from_official, is_official

MAX_BYTES = 2_000_000


class _Loader(yaml.SafeLoader):
    """Plain YAML only: no aliases (which can unfold without end) and no field given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key if isinstance(key, Hashable) else repr(key))
        return super().construct_mapping(node, deep=deep)


def read_conversation(path: Path) -> Conversation:
    """Reads and checks a conversation, ours or in the authors' format.

    Raises:
        InputError: The file cannot be read, is malformed, or a field is wrong; one line says which.
    """
    conversation, folders = parse_conversation(path)
    return resolve_paths(conversation, folders)


def parse_conversation(path: Path, scripted: bool = False) -> tuple[Conversation, list[Path]]:
    """A conversation with its paths as written, and the folders in which they are to be looked for.

    Relative paths are looked for beside the file; those of the authors' format also in the folders above it and in the
    current one, since their program is started from its repository's root. `scripted`: somebody else will say what is
    said, so the file need not.

    Raises:
        InputError: As `read_conversation`, but no file named in it is touched.
    """
    data = _decode(path)
    if is_official(data):
        try:
            official = from_official(data)
        except InputError as error:
            raise InputError(f"{path.name}: {error.args[0]}", error.hint) from None
        return validate(official, path.name, scripted), [path.parent, *path.resolve().parent.parents, Path.cwd()]
    return validate(data, path.name, scripted), [path.parent]


def validate(data: Any, where: str, scripted: bool = False) -> Conversation:
    """Checks decoded fields.

    Args:
        data: What the file or the request holds.
        where: Its name, for the message.
        scripted: Nobody need say anything yet.

    Raises:
        InputError: Names the first wrong field and what is wrong with it.
    """
    if not isinstance(data, dict):
        raise InputError(
            f"{where} does not hold a conversation.", "It starts with fields such as image: and speakers:."
        )
    try:
        return Conversation.model_validate(data, context={"scripted": scripted})
    except ValidationError as error:
        raise InputError(f"{where}: {_first_problem(error)}", _hint(error)) from None


def _decode(path: Path) -> Any:
    try:
        if not path.is_file():
            raise InputError(f"There is no file {path}." if not path.exists() else f"{path} is not a file.")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB; a conversation is a short text file."
            )
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not a text file.", "A conversation is YAML or JSON in UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not text.strip():
        raise InputError(f"{path.name} is empty.")
    try:
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_unique_pairs)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except json.JSONDecodeError as error:
        raise InputError(f"{path.name} is not valid JSON: {error.msg} in line {error.lineno}.") from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path.name} is not valid YAML: {error.problem or error.context}{line}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path.name} cannot be understood: {' '.join(str(error).split())[:200]}.") from None


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"{key!r} is given twice")
        result[key] = value
    return result


#: pydantic's words for the commonest mistakes, in plainer ones.
_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "path_type": "must be a path",
    "string_type": "must be text",
    "string_unicode": "is not valid Unicode",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
    "model_type": "must be a group of fields",
    "invalid_key": "cannot be the name of a field",
}


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # Of a choice between kinds (turns) pydantic reports every branch; the deepest one is where the user was.
    problem = max(problems, key=lambda entry: (len(entry["loc"]), -problems.index(entry)))
    steps = [step for step in problem["loc"] if not (isinstance(step, str) and ("[" in step or step == "tuple"))]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    message = _PLAIN.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    if problem["type"] not in ("missing", "extra_forbidden", "value_error") and isinstance(value, str | int | float):
        message += f" (it is {str(value)[:60]!r})"
    return f"{place} {message}.".strip() if place else f"{message}."


def _hint(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    if problem["type"] != "extra_forbidden":
        return ""
    models: dict[str, type[BaseModel]] = {"speakers": Speaker, "turns": Turn}
    model = models.get(str(problem["loc"][0]), Conversation)
    if "region" in problem["loc"]:
        model = Region
    return f"Known fields: {', '.join(model.model_fields)}."


def resolve_paths(conversation: Conversation, folders: list[Path]) -> Conversation:
    """The same conversation with absolute paths: of each file, the first that exists in one of the folders.

    Raises:
        InputError: A file is nowhere to be found.
    """

    def find(path: Path | None, what: str) -> Path | None:
        if path is None:
            return None
        if "\0" in str(path) or not str(path).strip() or str(path) == ".":
            raise InputError(f"The path of {what} is empty or malformed.")
        expanded = path.expanduser() if str(path).startswith("~") else path
        tried = [expanded] if expanded.is_absolute() else [folder / expanded for folder in folders]
        try:
            for candidate in tried:
                if candidate.is_file():
                    return candidate.absolute()
            folder = next((candidate for candidate in tried if candidate.exists()), None)
        except OSError as error:
            raise InputError(f"The path of {what} cannot be used: {error.strerror or error}.") from None
        if folder is not None:
            raise InputError(f"{what[0].upper() + what[1:]}: {folder} is not a file.")
        raise InputError(
            f"{what[0].upper() + what[1:]}: there is no file {tried[0]}.",
            "Relative paths start at the conversation's folder.",
        )

    speakers = []
    for speaker in conversation.speakers:
        region = speaker.region
        if region is not None and region.mask is not None:
            region = region.model_copy(update={"mask": find(region.mask, f"the mask of {speaker.name!r}")})
        audio = find(speaker.audio, f"the audio of {speaker.name!r}")
        speakers.append(speaker.model_copy(update={"audio": audio, "region": region}))
    update: dict[str, Any] = {"image": find(conversation.image, "the image"), "speakers": tuple(speakers)}
    if not isinstance(conversation.turns, str):
        update["turns"] = tuple(
            turn.model_copy(update={"audio": find(turn.audio, f"the audio of turns[{index}]")})
            for index, turn in enumerate(conversation.turns)
        )
    return conversation.model_copy(update=update)
