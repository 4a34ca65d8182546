"""Server-sent events: a video's changes as they happen, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from talkies.jobs.errors import JobNotFound
from talkies.serving.service import VideoService

#: Seconds between looks at the queue, and between signs of life.
_LOOK, _ALIVE = 0.5, 15.0


async def watch(service: VideoService, owner: str, video_id: str) -> AsyncIterator[str]:
    """Events `video.queued`, `video.in_progress`, `video.completed`, `video.failed`, `video.deleted`.

    Each carries the video as `GET /v1/videos/{id}` gives it. A change of progress is an event of its own. A client that
    reconnects gets the present state first.
    """
    told = ""
    silence = 0.0
    while True:
        try:
            job = service.get(owner, video_id)
        except JobNotFound:
            yield f'event: video.deleted\ndata: {{"id": "{video_id}"}}\n\n'
            return
        video = service.describe(job)
        now = video.model_dump_json()
        if now != told:
            told, silence = now, 0.0
            yield f"event: video.{video.status}\ndata: {now}\n\n"
        elif silence >= _ALIVE:
            silence = 0.0
            yield ": still here\n\n"
        if job.state.over:
            return
        await asyncio.sleep(_LOOK)
        silence += _LOOK
