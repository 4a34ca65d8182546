"""Requests with files: JSON or a form, counted while they arrive, files on disk only as long as the request lasts."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from anyio import to_thread
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from talkies.serving.errors import ApiError

_MAX_FIELD_BYTES = 4_000_000
#: JSON is decoded in one go, while everybody waits.
_MAX_JSON_BYTES = 32_000_000
_MAX_FILES, _MAX_FIELDS = 64, 100
#: Names of fields; those of a choice's branches look otherwise: `list[TurnIn]`, `FileReference`, `constrained-str`.
_FIELD = re.compile(r"[a-z][a-z0-9_]*")

Model = TypeVar("Model", bound=BaseModel)


class Body(NamedTuple):
    """What a request brought.

    Attributes:
        fields: By name.
        files: Where the form's file parts are, by the parts' names.
        names: What the client calls these files, for display only.
    """

    fields: dict[str, Any]
    files: dict[str, Path]
    names: dict[str, str]


@asynccontextmanager
async def read_body(request: Request, incoming: Path, picture: str | None = None) -> AsyncIterator[Body]:
    """Fields and files of a request; the files are gone when the block ends.

    Args:
        request: `application/json`, `multipart/form-data` or `application/x-www-form-urlencoded`.
        incoming: Where files may lie meanwhile.
        picture: A file field that also counts as a field, with `attach://NAME` as its value.

    Yields:
        What it brought.

    Raises:
        ApiError: It cannot be read.
    """
    kind = _kind(request)
    if kind == "application/json":
        yield Body(await read_json(request), {}, {})
        return
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise ApiError(415, "unsupported_media_type", "Send application/json or multipart/form-data.")
    try:
        form = await request.form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    except (HTTPException, MultiPartException, ValueError, KeyError) as error:
        raise ApiError(400, "invalid_form", f"The form cannot be read: {getattr(error, 'detail', error)}") from None
    try:
        with tempfile.TemporaryDirectory(dir=incoming) as folder:
            yield await to_thread.run_sync(_form, form, Path(folder), picture)
    finally:
        await form.close()


async def read_json(request: Request, most: int = _MAX_JSON_BYTES) -> dict[str, Any]:
    """A JSON object; one that is too large is refused by its length, or where it grows too long, not read to its end.

    Args:
        request: `application/json`.
        most: Bytes.

    Raises:
        ApiError: It cannot be read.
    """
    if _kind(request) != "application/json":
        raise ApiError(415, "unsupported_media_type", "Send application/json.")
    too_large = ApiError(
        413,
        "too_large",
        f"JSON may have {most // 1_000_000} MB here. Send large files as parts of a form, or to /v1/files.",
    )
    if int(request.headers.get("content-length", "0")) > most:  # digits, or the guard had refused it
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise too_large
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "invalid_json", "The body is not a JSON object.")
    return fields


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _form(form: FormData, folder: Path, picture: str | None) -> Body:
    fields, files, names = body = Body({}, {}, {})
    for name, value in form.multi_items():
        base, bracket, inner = name.partition("[")
        if isinstance(value, UploadFile):
            if name in files or (name == picture and name in fields):
                raise _twice(name)
            path = folder / f"part-{len(files)}"  # the client's names are never used on disk
            with path.open("wb") as target:
                shutil.copyfileobj(value.file, target)
            files[name], names[name] = path, _shown(value.filename or "")
            if name == picture:
                fields[name] = f"attach://{name}"
        elif bracket and base == picture and inner.endswith("]"):
            part = fields.setdefault(base, {})
            if not isinstance(part, dict) or inner[:-1] in part:
                raise _twice(name)
            part[inner[:-1]] = value
        elif bracket:
            raise ApiError(400, "invalid_form", f"In a form, send {base} as JSON text.", base)
        elif name in fields:
            raise _twice(name)
        else:
            fields[name] = value
    return body


def _twice(name: str) -> ApiError:
    return ApiError(400, "invalid_form", f"{name} is given twice.", name)


def _shown(name: str) -> str:
    """A file's name without the client's folders and without what cannot be shown."""
    return "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())


def parse(model: type[Model], fields: dict[str, Any]) -> Model:
    """Checks fields.

    Raises:
        ApiError: Names the first wrong one.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        # Of a choice (turns) every branch is reported, by its own name; the deepest one is where the client was.
        problem = max(problems, key=lambda entry: len(entry["loc"]))
        strange = {len(problem["loc"]) - 1} if problem["type"] == "extra_forbidden" else set()  # the client's own name
        steps = [
            step
            for index, step in enumerate(problem["loc"])
            if isinstance(step, int) or _FIELD.fullmatch(step) or index in strange
        ]
        param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
        message = problem["msg"].removeprefix("Value error, ")
        raise ApiError(400, "invalid_value", f"{param}: {message}." if param else f"{message}.", param) from None
