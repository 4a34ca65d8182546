"""The real service, queue and studio for browser tests, with a worker that films the still picture.

python studio_server.py serve FOLDER PORT SECONDS_PER_FRAME
python studio_server.py work FOLDER NAME SECONDS_PER_FRAME
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from talkies.domain.clip import CoverCrop, FrameSize, frames_for
from talkies.domain.timeline import lay_out
from talkies.jobs.executors.local import LocalExecutor
from talkies.jobs.job import Task
from talkies.jobs.store import JobStore, Limits
from talkies.jobs.work import PREVIEW, Report, work
from talkies.media.audio import Mix, inspect
from talkies.media.conversation_file import resolve_paths
from talkies.media.image import fill_frame, load_image
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.provenance.consent import Consent, today
from talkies.provenance.credentials import make_key, sign
from talkies.provenance.record import GenerationRecord, source

SIZE = FrameSize(320, 192)


def film(task: Task, folder: Path, report: Report, pause: float) -> None:
    """Writes the picture as a video with the talk's sound: a generator without a network."""
    conversation = resolve_paths(task.conversation, [folder])
    recordings = {turn.audio: inspect(turn.audio) for turn in conversation.turn_list() if turn.audio}
    timeline = lay_out(conversation, [(turn.audio, recordings[turn.audio].seconds) for turn in conversation.turn_list() if turn.audio])  # noqa: E501  # fmt: skip
    image = load_image(conversation.image)
    frame = fill_frame(image, CoverCrop.of(FrameSize(*image.size), SIZE))
    count = frames_for(timeline.duration)
    report.describe(count / 25, str(SIZE))
    if conversation.prompt == "fail":
        raise ArithmeticError("the picture became NaN")
    with staged(folder / PREVIEW) as temporary:
        frame.save(temporary, format="JPEG")
    with staged(folder / "video.mp4") as temporary:
        with VideoWriter(temporary, SIZE, VideoSettings(), Mix.of(timeline, recordings, count / 25)) as writer:
            for index in range(count):
                writer.write(np.asarray(frame)[None])
                report((index + 1) / count, f"frame {index + 1} of {count}")
                time.sleep(pause)
        record = GenerationRecord(
            "still", (), (source(conversation.image),), conversation.prompt or "", "",
            tuple(speaker.name for speaker in conversation.speakers), task.seed, {},
            Consent(conversation.consent or "", "asked", today()), "embedded", None, "cpu",
        )  # fmt: skip
        sign(temporary, record, make_key())


def store_in(folder: Path) -> JobStore:
    """The queue of the tests: leases run out quickly, the disk may be full."""
    return JobStore(folder, Limits(free_bytes=1, lease=3))


def serve(folder: Path, port: int, pause: str, keys: Path | None) -> None:
    """Serves until told to stop."""
    import uvicorn

    from talkies.serving.app import create_app
    from talkies.serving.settings import ModelInfo, ServiceSettings
    from talkies.serving.studio.routes import mount_studio

    store = store_in(folder)

    def command(device: str, name: str) -> list[str]:
        return [sys.executable, __file__, "work", str(folder), name, pause]

    executor = LocalExecutor(store, command, ["cpu"])
    executor.start()
    app = create_app(ServiceSettings((ModelInfo("still"),), keys), store, executor.alive)
    mount_studio(app)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the workers are stopped as well
    try:
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    finally:
        executor.stop(5)


def main() -> None:
    """See the top."""
    what, folder, third, pause = sys.argv[1:5]
    if what == "serve":
        serve(Path(folder), int(third), pause, Path(sys.argv[5]) if len(sys.argv) > 5 else None)
        return
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    work(store_in(Path(folder)), lambda task, where, report: film(task, where, report, float(pause)), third, stop)


if __name__ == "__main__":
    main()
