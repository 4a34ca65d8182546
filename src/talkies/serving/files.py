"""`/v1/files`: pictures and recordings uploaded once, used in many requests; as the `openai` client's resource."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from talkies.serving.errors import ApiError
from talkies.serving.forms import read_body
from talkies.serving.schemas import File, FileDeleted, FilePage
from talkies.serving.uploads import Upload
from talkies.serving.videos import _REFUSALS, After, Order, Owner, Service, admitted

router = APIRouter(prefix="/v1/files", tags=["files"], responses=_REFUSALS)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "default": "user_data"},
                    },
                }
            }
        },
    }
}


@router.post("", openapi_extra=_FORM)
async def create(request: Request, owner: Owner, service: Service) -> File:
    """Upload a picture or a recording; it is decoded and encoded anew."""
    service.store.require_room(owner)
    async with admitted(request) as threads, read_body(request, service.incoming) as body:
        if "file" not in body.files:
            raise ApiError(400, "missing_file", "Send the file as the part `file` of a multipart form.", "file")
        purpose, name = str(body.fields.get("purpose", "user_data")), body.names["file"] or "file"
        upload = await to_thread.run_sync(service.upload, owner, body.files["file"], name, purpose, limiter=threads)
    return describe_upload(upload)


@router.get("")
def list_files(
    owner: Owner,
    service: Service,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    after: After = None,
    order: Order = "desc",
) -> FilePage:
    """Your files, newest first."""
    found = service.files.list(owner, after, order == "asc")
    return FilePage(data=[describe_upload(upload) for upload in found[:limit]], has_more=len(found) > limit)


@router.get("/{file_id}")
def retrieve(file_id: str, owner: Owner, service: Service) -> File:
    """One file."""
    return describe_upload(service.files.get(owner, file_id))


@router.delete("/{file_id}")
def delete(file_id: str, owner: Owner, service: Service) -> FileDeleted:
    """Remove a file; videos made from it keep their own copy."""
    service.files.delete(owner, file_id)
    return FileDeleted(id=file_id)


def describe_upload(upload: Upload) -> File:
    """A file as clients see it."""
    facts = upload.facts
    return File(
        id=upload.id,
        bytes=upload.bytes,
        created_at=int(upload.created),
        expires_at=int(upload.expires),
        filename=upload.name,
        purpose=upload.purpose,
        kind=facts.kind,
        seconds=facts.seconds,
        width=facts.width,
        height=facts.height,
    )
