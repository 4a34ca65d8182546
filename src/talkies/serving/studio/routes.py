"""The studio's page and what it needs besides the public routes: people, voices, scripts, credentials."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from talkies.domain.conversation import Name
from talkies.domain.dialogue import MAX_CHARACTERS, read_script
from talkies.serving.errors import ApiError
from talkies.serving.files import describe_upload
from talkies.serving.forms import Model, parse, read_json
from talkies.serving.studio.process import Helper
from talkies.serving.videos import Owner, Service

STATIC = Path(__file__).with_name("static")
#: The page loads nothing from elsewhere, runs no inline script and stands in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Letters of one spoken line.
MAX_LINE = 2_000
#: Of a request's JSON, where a letter may take twelve.
MAX_BYTES = 12 * MAX_CHARACTERS + 1_000

router = APIRouter(prefix="/studio/api", include_in_schema=False)
Language = Annotated[str, Field(max_length=20, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PictureIn(_Request):
    """An uploaded picture."""

    file: Annotated[str, Field(max_length=80)]


class LineIn(_Request):
    """A line to be spoken."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_LINE)]
    language: Language = "en"
    voice: Name | None = None
    person: Annotated[int, Field(ge=0, le=99)] = 0


class ScriptIn(_Request):
    """A dialogue."""

    text: Annotated[str, Field(max_length=MAX_CHARACTERS)]


def _read(model: type[Model]) -> Callable[[Request, str], Awaitable[Model]]:
    # By hand: FastAPI on its own reads a whole body before it asks whose it is.
    async def read(request: Request, owner: Owner) -> Model:
        return parse(model, await read_json(request, MAX_BYTES))

    return read


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


class Studio:
    """What the routes share.

    Args:
        command: The operator's own speech command; None: Kokoro and espeak-ng only.
    """

    def __init__(self, command: str | None) -> None:
        self.helper, self.command = Helper(), command
        self._languages: dict[str, str] | None = None
        self._voices: dict[str, list[dict[str, Any]]] = {}

    def languages(self) -> dict[str, str]:
        """What can be spoken; asked once."""
        if self._languages is None:
            self._languages = self.helper.ask("languages", command=self.command)["languages"]
        return self._languages

    def voices(self, language: str) -> list[dict[str, Any]]:
        """The voices for a language; asked once each."""
        if language not in self.languages():
            raise ApiError(404, "not_found", f"No voice speaks {language!r}.", "language")
        if language not in self._voices:
            asked = self.helper.ask("voices", language=language, command=self.command)
            self._voices[language] = asked["voices"]
        return self._voices[language]

    def speak(self, line: LineIn, output: Path) -> dict[str, Any]:
        """Speaks a line into a wav file."""
        return self.helper.ask("speech", **line.model_dump(), output=str(output), command=self.command)


Known = Annotated[Studio, Depends(_studio)]


@router.get("/setup")
def setup(owner: Owner, service: Service, studio: Known) -> dict[str, Any]:
    """What the page must know before anything else."""
    settings = service.settings
    return {
        "models": [
            {"id": model.id, "multiple": model.size_multiple, "steps": model.steps} for model in settings.models
        ],
        "consent": settings.consent,
        "languages": studio.languages(),
        "limits": {"bytes": settings.uploads.body_bytes, "seconds": settings.uploads.audio_seconds, "line": MAX_LINE},
    }


@router.get("/voices/{language}")
def voices(language: str, owner: Owner, studio: Known) -> list[dict[str, Any]]:
    """The voices for a language."""
    return studio.voices(language)


@router.post("/people")
def people(
    picture: Annotated[PictureIn, Depends(_read(PictureIn))], owner: Owner, service: Service, studio: Known
) -> dict[str, Any]:
    """Who is in a picture."""
    return studio.helper.ask("people", image=str(service.files.path(owner, picture.file)))


@router.post("/speech")
async def speech(
    line: Annotated[LineIn, Depends(_read(LineIn))], request: Request, owner: Owner, service: Service, studio: Known
) -> dict[str, Any]:
    """Speak a line; gives the file, as `/v1/files` does."""

    def work() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="talkies-") as folder:
            sound = Path(folder) / "speech.wav"
            spoken = studio.speak(line, sound)
            upload = service.upload(owner, sound, "speech.wav", kind="audio")
        return describe_upload(upload).model_dump() | {"voice": spoken["voice"], "note": spoken["note"]}

    return await to_thread.run_sync(work, limiter=request.app.state.upload_limiter)


@router.post("/script")
def script(wanted: Annotated[ScriptIn, Depends(_read(ScriptIn))], owner: Owner) -> dict[str, Any]:
    """Read a dialogue: speakers and turns as in a conversation file."""
    return read_script(wanted.text).fields()


@router.get("/files/{file_id}")
def file(file_id: str, owner: Owner, service: Service) -> FileResponse:
    """An uploaded picture or recording, as it was re-encoded."""
    return FileResponse(service.files.path(owner, file_id), headers={"Cache-Control": "private, max-age=3600"})


@router.get("/videos/{video_id}/credentials")
def credentials(video_id: str, owner: Owner, service: Service, studio: Known) -> dict[str, Any]:
    """What a finished video says about where it comes from."""
    return studio.helper.ask("credentials", video=str(service.content(owner, video_id)))


class _Page(StaticFiles):
    """Static files, with the headers that keep other people's code out."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({
            "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
        })  # fmt: skip
        return response


def mount_studio(app: FastAPI, command: str | None = None) -> None:
    """Adds the studio to the service, at `/studio/`.

    Args:
        app: From `talkies.serving.app.create_app`.
        command: The operator's own speech command, see `talkies.media.speech_synthesis.command`.
    """
    app.state.studio = Studio(command)
    app.include_router(router)

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse("/studio/")

    app.mount("/studio", _Page(directory=STATIC, html=True))
