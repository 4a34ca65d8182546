"""`/v1/videos`: the routes of the `openai` client's videos resource, and events, cancel and retry besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, WouldBlock, to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from talkies.serving.errors import ApiError
from talkies.serving.events import watch
from talkies.serving.forms import parse, read_body
from talkies.serving.guard import owner_of
from talkies.serving.schemas import ErrorAnswer, Video, VideoCreate, VideoDeleted, VideoPage
from talkies.serving.service import CONTENT, VideoService

_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorAnswer} for code in (400, 401, 403, 404, 409, 413, 415, 421, 429)
}


# Coroutines, though nothing is awaited: FastAPI hands plain functions to threads, at every request.
async def _owner(request: Request) -> str:
    return owner_of(request)


async def _service(request: Request) -> VideoService:
    service: VideoService = request.app.state.service
    return service


@asynccontextmanager
async def admitted(request: Request) -> AsyncIterator[CapacityLimiter]:
    """Room for a request with files, from its first byte until they are checked: what is on disk stays bounded.

    Yields:
        For the thread that checks them; such threads must not take those of everything else.

    Raises:
        ApiError: Too many are being read and checked.
    """
    limiter: CapacityLimiter = request.app.state.upload_limiter
    try:
        limiter.acquire_on_behalf_of_nowait(request)
    except WouldBlock:
        raise ApiError(429, "busy", "Too many uploads are being checked.", headers={"Retry-After": "2"}) from None
    try:
        yield request.app.state.upload_threads
    finally:
        limiter.release_on_behalf_of(request)


Owner = Annotated[str, Depends(_owner)]
Service = Annotated[VideoService, Depends(_service)]
After = Annotated[str | None, Query(max_length=80)]
Order = Literal["asc", "desc"]
router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=_REFUSALS)


def _body(model: dict[str, Any]) -> dict[str, Any]:
    form = {**model, "properties": {**model["properties"], "input_reference": {"type": "string", "format": "binary"}}}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": model}, "multipart/form-data": {"schema": form}},
        }
    }


@router.post("", openapi_extra=_body(VideoCreate.model_json_schema(ref_template="#/components/schemas/{model}")))
async def create(
    request: Request,
    response: Response,
    owner: Owner,
    service: Service,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Video:
    """Queue a video."""
    if idempotency_key is None:
        service.store.require_room(owner)
    async with admitted(request) as threads, read_body(request, service.incoming, "input_reference") as body:
        wanted = parse(VideoCreate, body.fields)
        job = await to_thread.run_sync(service.submit, owner, wanted, body.files, idempotency_key, limiter=threads)
    response.headers["openai-poll-after-ms"] = str(service.poll_after(job))
    return service.describe(job)


@router.get("")
async def list_videos(
    owner: Owner,
    service: Service,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: After = None,
    order: Order = "desc",
) -> VideoPage:
    """Your videos, newest first."""
    jobs = service.list(owner, limit + 1, after, order == "asc")
    page = [service.describe(job) for job in jobs[:limit]]
    return VideoPage(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(jobs) > limit,
    )


# These read a row or two: quicker than handing them to a thread.
@router.get("/{video_id}")
async def retrieve(video_id: str, response: Response, owner: Owner, service: Service) -> Video:
    """One video as it stands; a failed one is an ordinary answer with `status: failed`."""
    job = service.get(owner, video_id)
    response.headers["openai-poll-after-ms"] = str(service.poll_after(job))
    return service.describe(job)


@router.get(
    "/{video_id}/content",
    response_class=FileResponse,
    responses={200: {"content": {kind: {} for _, kind in CONTENT.values()}}},
)
async def content(
    video_id: str,
    owner: Owner,
    service: Service,
    variant: Literal["video", "thumbnail", "spritesheet", "preview"] = "video",
) -> FileResponse:
    """The video, or pictures of it. Parts of it by `Range`."""
    path = service.content(owner, video_id, variant)
    name = f"{video_id}{path.suffix}" if variant == "video" else f"{video_id}-{path.name}"
    headers = {"Cache-Control": "private, no-cache"}
    return FileResponse(path, media_type=CONTENT[variant][1], filename=name, content_disposition_type="inline",
                        headers=headers)  # fmt: skip


@router.get(
    "/{video_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(video_id: str, owner: Owner, service: Service) -> StreamingResponse:
    """Server-sent events until the video is over."""
    service.get(owner, video_id)
    return StreamingResponse(
        watch(service, owner, video_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/{video_id}/cancel")
def cancel(video_id: str, owner: Owner, service: Service) -> Video:
    """Stop a video: a waiting one at once, a running one at its next step."""
    return service.describe(service.cancel(owner, video_id))


@router.post("/{video_id}/retry")
def retry(video_id: str, owner: Owner, service: Service) -> Video:
    """Queue a failed or cancelled video again; what was finished of it is kept."""
    return service.describe(service.retry(owner, video_id))


@router.delete("/{video_id}")
def delete(video_id: str, owner: Owner, service: Service) -> VideoDeleted:
    """Remove a video with all its files; one that is being made must be cancelled first."""
    service.delete(owner, video_id)
    return VideoDeleted(id=video_id)
