"""What the service does, without HTTP: the routes and the studio call this. Blocking, safe from any thread."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

from talkies.jobs.folders import unused
from talkies.jobs.job import Job, State, Task
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore
from talkies.jobs.work import PREVIEW, SPRITESHEET, THUMBNAIL, VIDEO
from talkies.serving.errors import ApiError
from talkies.serving.inputs import Inputs, gather
from talkies.serving.schemas import Video, VideoCreate, VideoError
from talkies.serving.settings import ModelInfo, ServiceSettings
from talkies.serving.uploads import Files, Kind, Sanitizer, Upload

#: What can be downloaded: file and media type.
CONTENT = {
    "video": (VIDEO, "video/mp4"),
    "thumbnail": (THUMBNAIL, "image/webp"),
    "spritesheet": (SPRITESHEET, "image/jpeg"),
    "preview": (PREVIEW, "image/jpeg"),
}
#: Seconds after which what a request brought counts as left behind.
_ABANDONED = 3600.0
_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.DONE: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",  # the clients' enumeration knows no other end
}


#: Named here: inside `VideoService`, `list` is something else.
_Jobs = list[Job]


class VideoService:
    """Videos of many owners.

    Args:
        settings: How it is set up.
        store: The queue.
        workers: How many workers are alive; None where nobody knows (they run elsewhere).
    """

    def __init__(
        self, settings: ServiceSettings, store: JobStore, workers: Callable[[], int | None] = lambda: None
    ) -> None:
        self.settings, self.store, self.workers = settings, store, workers
        self.sanitizer = Sanitizer(settings.uploads)
        self.files = Files(store.root / "files", settings.uploads, self.sanitizer)
        #: Where bytes of a request are while it lasts.
        self.incoming = store.root / "incoming"
        self.incoming.mkdir(mode=0o700, exist_ok=True)

    # Making

    def upload(self, owner: str, path: Path, name: str, purpose: str = "user_data", kind: Kind = "any") -> Upload:
        """Re-encodes and keeps a picture or a recording.

        Raises:
            ApiError: It was refused.
        """
        self.store.require_room(owner)
        return self.files.add(owner, path, name, purpose, kind)

    def submit(
        self,
        owner: str,
        request: VideoCreate,
        attachments: Mapping[str, Path] | None = None,
        idempotency: str | None = None,
    ) -> Job:
        """Checks a request and queues it.

        Args:
            owner: Whose it is.
            request: What to make.
            attachments: Files the request refers to as `attach://NAME`, as they came.
            idempotency: The client's own key: the same key and request again give the same job.

        Raises:
            ApiError: The request cannot be used.
            InputError: The conversation in it is not consistent.
            QueueFull: No room.
        """
        attachments = attachments or {}
        fingerprint = _fingerprint(request, attachments) if idempotency is not None else ""
        if idempotency is not None:
            known = self.store.find_repeated(owner, idempotency, fingerprint)
            if known is not None:
                return known
        model = self._model(request)
        consent = request.consent or self.settings.consent
        if consent is None:
            raise ApiError(
                400,
                "consent_missing",
                "Pictures of people need their consent. If you have it, or nobody in the picture is real, say so in "
                "the field consent; it is kept with the video.",
                "consent",
            )
        self.store.require_room(owner)
        with self.store.draft() as draft:
            inputs = Inputs(owner, draft.inputs, attachments, self.files)
            conversation, seconds = gather(request, consent, inputs, self.sanitizer, self.incoming)
            task = Task(
                conversation=conversation,
                model=model.id,
                seconds=request.seconds,
                size=request.size,
                fps=str(Fraction(request.fps).limit_denominator(1001)),
                seed=request.seed,
                num_inference_steps=request.num_inference_steps,
                text_guidance_scale=request.text_guidance_scale,
                audio_guidance_scale=request.audio_guidance_scale,
            )
            return self.store.submit(draft, task, owner, seconds, idempotency, fingerprint)

    def _model(self, request: VideoCreate) -> ModelInfo:
        models = {model.id: model for model in self.settings.models}
        chosen = self.settings.models[0] if request.model is None else models.get(request.model)
        if chosen is None:
            raise ApiError(
                400, "model_not_found", f"There is no model {request.model!r}, only {', '.join(models)}.", "model"
            )
        if request.size is not None:
            width, height = map(int, request.size.split("x"))
            multiple = chosen.size_multiple
            if width % multiple or height % multiple or not 64 <= min(width, height) <= max(width, height) <= 4096:
                raise ApiError(400, "invalid_size", f"Both sides must be multiples of {multiple} in 64..4096.", "size")
        return chosen

    # Looking

    def get(self, owner: str, video_id: str) -> Job:
        """One video.

        Raises:
            JobNotFound: There is none, or it is somebody else's.
        """
        return self.store.get(video_id, owner)

    def list(self, owner: str, limit: int = 20, after: str | None = None, ascending: bool = False) -> _Jobs:
        """The owner's videos, newest first unless `ascending`.

        Raises:
            JobNotFound: `after` is not there.
        """
        return self.store.list(owner, limit, after, ascending)

    def content(self, owner: str, video_id: str, variant: str = "video") -> Path:
        """Where the video, or a picture of it, is.

        Raises:
            JobNotFound: There is no such video, or it is somebody else's.
            ApiError: It is not finished, or there is no such picture.
        """
        job = self.get(owner, video_id)
        if variant not in CONTENT:
            raise ApiError(400, "invalid_variant", f"There are {', '.join(CONTENT)}.", "variant")
        path = self.store.folder(video_id) / CONTENT[variant][0]
        if job.state is not State.DONE and variant != "preview":
            raise ApiError(404, "not_ready", f"This video is {_STATUS[job.state]}.", "video_id")
        if not path.is_file():
            raise ApiError(404, "not_found", f"There is no {variant} of this video.", "variant")
        return path

    def describe(self, job: Job) -> Video:
        """A job as clients see it."""
        task = json.loads(job.task_json)  # two fields of it: checking it all again would take the most of the time
        return Video(
            id=job.id,
            model=task["model"],
            status=_STATUS[job.state],  # type: ignore[arg-type]
            progress=min(99, int(job.progress * 100)) if job.state is not State.DONE else 100,
            created_at=int(job.created),
            completed_at=int(job.finished) if job.finished and job.state is State.DONE else None,
            expires_at=int(job.expires) if job.expires else None,
            error=VideoError(code=job.error.code, message=job.error.message) if job.error else None,
            prompt=task["conversation"].get("prompt"),
            seconds=f"{job.seconds or 0:.6g}",
            size=job.size or "auto",
            stage="cancelling" if job.cancelling and not job.state.over else job.doing,
        )

    def poll_after(self, job: Job) -> int:
        """When to look again, in milliseconds."""
        if job.state is not State.QUEUED:
            return 1_000
        return min(10_000, 1_000 + 500 * self.store.position(job.id))

    # Changing

    def cancel(self, owner: str, video_id: str) -> Job:
        """Stops a video that is waiting or being made.

        Raises:
            JobNotFound: There is none, or it is somebody else's.
        """
        return self.store.cancel(video_id, owner)

    def retry(self, owner: str, video_id: str) -> Job:
        """Queues a failed or cancelled video again.

        Raises:
            JobNotFound: There is none, or it is somebody else's.
            JobConflict: It did not fail.
            QueueFull: No room.
        """
        return self.store.retry(video_id, owner)

    def delete(self, owner: str, video_id: str) -> None:
        """Removes a video with all its files.

        Raises:
            JobNotFound: There is none, or it is somebody else's.
            JobConflict: It is being made.
        """
        self.store.delete(video_id, owner)

    def sweep(self) -> None:
        """Housekeeping, now and then: retention, leases that ran out, what crashes left."""
        Leases(self.store).expire()
        self.store.sweep()
        self.files.sweep()
        for left in unused(self.incoming, _ABANDONED):  # by a server that was killed in the middle of a request
            shutil.rmtree(left, ignore_errors=True)


def _fingerprint(request: VideoCreate, attachments: Mapping[str, Path]) -> str:
    digests = {}
    for name, path in sorted(attachments.items()):
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps([request.model_dump(mode="json"), digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
