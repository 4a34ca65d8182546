"""The durable queue: jobs survive crashes, none is lost and none is done twice.

Truth is one SQLite file (write-ahead log) and one folder per job below one root:

    root/queue.sqlite3          every job's state, lease, progress and error
    root/jobs/<id>/inputs/      the picture and the voices, already checked
    root/jobs/<id>/             video.mp4, thumbnail.webp, spritesheet.jpg, preview.jpg, result.json, and partial work

Who submits uses `JobStore`; who works uses `Leases` (through `work`); `executors` start workers.

    store = JobStore(root)
    with store.draft() as draft:                    # a folder that goes away again unless it is submitted
        shutil.copy(picture, draft.inputs / "image.png")
        job = store.submit(draft, Task(conversation=...), owner="local")
    store.get(job.id, owner="local").state          # State.QUEUED, RUNNING, DONE, FAILED, CANCELLED

    work(store, generate, name="cpu", stop=threading.Event())   # in another process: takes jobs until told to stop

`generate(task, folder, report)` is handed in (`talkies.jobs.work.Generator`): this room knows no network.
"""

from talkies.jobs.errors import JobConflict, JobNotFound, QueueFull
from talkies.jobs.job import Job, JobError, State, Task
from talkies.jobs.store import Draft, JobStore, Limits

__all__ = [
    "Draft",
    "Job",
    "JobConflict",
    "JobError",
    "JobNotFound",
    "JobStore",
    "Limits",
    "QueueFull",
    "State",
    "Task",
]
