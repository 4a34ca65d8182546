"""Requests with files: JSON or a form, counted while they arrive, files on disk only as long as the request lasts."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

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

Body = tuple[dict[str, Any], dict[str, Path]]
Model = TypeVar("Model", bound=BaseModel)


@asynccontextmanager
async def read_body(request: Request, incoming: Path, picture: str | None = None) -> AsyncIterator[Body]:
    """Fields and files of a request; the files are gone when the block ends.

    Args:
        request: `application/json`, `multipart/form-data` or `application/x-www-form-urlencoded`.
        incoming: Where files may lie meanwhile.
        picture: A file field that also counts as a field, with `attach://NAME` as its value.

    Yields:
        Fields by name, and paths by the names of the form's file parts.

    Raises:
        ApiError: It cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield _json(await request.body()), {}
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


def _json(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_JSON_BYTES:
        most = f"JSON may have {_MAX_JSON_BYTES // 1_000_000} MB."
        raise ApiError(413, "too_large", f"{most} Send large files as parts of a form, or to /v1/files.")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_json", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "invalid_json", "The body is not a JSON object.")
    return fields


def _form(form: FormData, folder: Path, picture: str | None) -> tuple[dict[str, Any], dict[str, Path]]:
    fields: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for name, value in form.multi_items():
        base, bracket, inner = name.partition("[")
        if isinstance(value, UploadFile):
            path = folder / f"part-{len(files)}"  # the client's names are never used on disk
            with path.open("wb") as target:
                shutil.copyfileobj(value.file, target)
            files[name] = path
            if name == picture:
                fields[name] = f"attach://{name}"
        elif bracket and base == picture and inner.endswith("]"):
            part = fields.setdefault(base, {})
            if isinstance(part, dict):
                part[inner[:-1]] = value
        elif bracket:
            raise ApiError(400, "invalid_form", f"In a form, send {base} as JSON text.", base)
        elif name in fields:
            raise ApiError(400, "invalid_form", f"{name} is given twice.", name)
        else:
            fields[name] = value
    return fields, files


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
