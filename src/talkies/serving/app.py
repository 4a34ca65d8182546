"""The application: routes, guards, errors, metrics and housekeeping put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from talkies.domain.errors import TalkiesError
from talkies.jobs.store import JobStore
from talkies.serving import files, system, videos
from talkies.serving.errors import ApiError, as_api_error
from talkies.serving.guard import Guard
from talkies.serving.keys import Keys
from talkies.serving.schemas import FileReference, RegionIn, SpeakerIn, TurnIn
from talkies.serving.service import VideoService
from talkies.serving.settings import ServiceSettings
from talkies.version import __version__

#: Seconds between rounds of housekeeping.
_HOUSEKEEPING = 60.0
_log = logging.getLogger(__name__)


def create_app(settings: ServiceSettings, store: JobStore, workers: Callable[[], int | None] = lambda: None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        settings: How it is set up.
        store: The queue; workers on the same folder do the work.
        workers: How many workers are alive, for `/health` and `/metrics`; None where nobody knows.

    Returns:
        The application; `app.state.service` is the `VideoService` behind it.
    """
    service = VideoService(settings, store, workers)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        keeper = asyncio.create_task(_keep_house(service))
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            service.sanitizer.close()

    app = FastAPI(title="Talkies", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.keys = Keys(settings.keys) if settings.keys is not None else None
    app.state.metrics = system.Metrics(service)
    app.state.upload_limiter = CapacityLimiter(settings.uploads.at_once + settings.uploads.waiting)
    # hardly more than are decoded at once: who waits, waits in the loop, not in a thread that fights for the lock
    app.state.upload_threads = CapacityLimiter(settings.uploads.at_once + 2)
    for router in (videos.router, files.router, system.router):
        app.include_router(router)
    _handle_errors(app)
    app.add_middleware(Guard, hosts=settings.hosts, body_bytes=settings.uploads.body_bytes)
    app.add_middleware(system.Measured, metrics=app.state.metrics)  # around the guard: its refusals count too
    _complete_schema(app)
    return app


async def _keep_house(service: VideoService) -> None:
    while True:
        try:
            await to_thread.run_sync(service.sweep)
        except Exception:
            _log.exception("housekeeping failed")
        await asyncio.sleep(_HOUSEKEEPING)


def _handle_errors(app: FastAPI) -> None:
    def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, TalkiesError):
            refusal = as_api_error(error)
        elif isinstance(error, RequestValidationError):
            problem = error.errors()[0]
            param = ".".join(str(step) for step in problem["loc"][1:])
            refusal = ApiError(400, "invalid_value", f"{param}: {problem['msg']}.", param or None)
        elif isinstance(error, HTTPException):
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
            refusal = ApiError(error.status_code, code, f"{error.detail}.", headers=dict(error.headers or {}))
        else:
            _log.error("unexpected", exc_info=error)
            refusal = ApiError(500, "internal_error", "The service made a mistake.")
        return JSONResponse(refusal.body, refusal.status, refusal.headers)

    for kind in (TalkiesError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refuse)


def _complete_schema(app: FastAPI) -> None:
    """The body of `POST /v1/videos` is read by hand (it may be JSON or a form), so its parts are named here."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        schema = build()
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        for part in (SpeakerIn, TurnIn, RegionIn, FileReference):
            parts.setdefault(part.__name__, part.model_json_schema(ref_template="#/components/schemas/{model}"))
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
