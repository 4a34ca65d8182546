"""Workers on a Ray cluster. Ray only places the work; truth stays in the store.

One thread per worker on the machine with the store takes a job, sends its folder to an actor somewhere in the cluster,
and carries progress and finished parts back into the folder as they appear. So no machine but this one opens the
queue, no file system is shared, and a job whose machine is lost goes on elsewhere from its last finished segment.
"""

from __future__ import annotations

import logging
import queue
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from talkies.domain.errors import InputError, MissingDependencyError, TalkiesError
from talkies.jobs.folders import LOCK
from talkies.jobs.job import Task
from talkies.jobs.store import JobStore
from talkies.jobs.work import Generator, Report, Stopped, WorkerLost, work
from talkies.media.staging import staged

#: Seconds between signs of life of an actor, and given to it to reach the end of a step when it is told to stop.
_LOOK, _PATIENCE = 0.5, 20.0
_log = logging.getLogger(__name__)

#: What an actor tells: `("progress", progress, doing)`, `("describe", seconds, size)`, `("file", path, bytes | None)`,
#: `("stopped",)` or `("error", kind, message, hint)`.
Message = tuple[Any, ...]


@dataclass(frozen=True)
class Cluster:
    """Where to work and what each worker needs.

    Attributes:
        address: Of a cluster this machine is part of, as in `auto` or `head:6379`; None starts a small one here.
        workers: How many.
        num_gpus, num_cpus: Of each worker.
    """

    address: str | None = "auto"
    workers: int = 1
    num_gpus: float = 0.0
    num_cpus: float = 1.0


class RayExecutor:
    """Keeps workers of a Ray cluster busy.

    Args:
        store: The queue.
        make: Makes the generator, on the worker's machine; pickled by reference, so importable there.
        cluster: Where.
    """

    def __init__(self, store: JobStore, make: Callable[[], Generator], cluster: Cluster) -> None:
        self._store, self._make, self._cluster = store, make, cluster
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"ray-{number}", daemon=True) for number in range(cluster.workers)
        ]

    def start(self) -> None:
        """Connects to the cluster and starts the workers.

        Raises:
            MissingDependencyError: Ray is not installed.
            InputError: The cluster cannot be reached.
        """
        try:
            import ray
        except ImportError:
            raise MissingDependencyError("Ray is not installed.", "pip install 'talkies[ray]'") from None
        if not ray.is_initialized():
            try:
                ray.init(address=self._cluster.address, log_to_driver=False, configure_logging=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise InputError(f"The Ray cluster cannot be reached: {' '.join(str(error).split())[:200]}.") from None
        for thread in self._threads:
            thread.start()

    def alive(self) -> int:
        """How many workers are taking jobs."""
        return sum(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Stops the workers; their jobs go back to the queue with their finished parts."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        hands = _Far(self._make, self._cluster)
        work(self._store, hands, f"ray-{secrets.token_hex(4)}", self._stop)
        hands.close()


class _Far:
    """A generator that works elsewhere: the near end."""

    def __init__(self, make: Callable[[], Generator], cluster: Cluster) -> None:
        self._make, self._cluster = make, cluster
        self._actor: Any = None  # kept between jobs, and with it the loaded model

    def __call__(self, task: Task, folder: Path, report: Report) -> None:
        import ray

        if self._actor is None:
            actor: Any = ray.remote(_Actor)
            needs = {"num_gpus": self._cluster.num_gpus, "num_cpus": self._cluster.num_cpus}
            self._actor = actor.options(**needs, max_concurrency=2).remote(self._make)  # one to work, one to be told
        try:
            messages = self._actor.make.options(num_returns="streaming").remote(
                task.model_dump_json(exclude_none=True), _read_folder(folder)
            )
            self._follow(messages, folder, report)
        except ray.exceptions.RayError as error:
            self.close()
            raise WorkerLost(str(error)) from error

    def _follow(self, messages: Any, folder: Path, report: Report) -> None:
        import ray

        progress, doing, told = 0.0, "waiting for a machine", False
        while True:
            ready, _ = ray.wait([messages], timeout=_LOOK if not told else _PATIENCE)
            if not ready:
                if told:  # it does not listen: a step that takes long
                    self.close()
                    raise Stopped
                message: Message = ("progress", progress, doing)
            else:
                try:
                    message = ray.get(next(messages))
                except StopIteration:
                    return
            if message[0] == "progress":
                _, progress, doing = message
                try:
                    if not told:
                        report(progress, doing)
                except Stopped:
                    told = True
                    self._actor.stop.remote()
            else:
                _apply(message, folder, report)

    def close(self) -> None:
        """Gives the machine back."""
        if self._actor is not None:
            import ray

            ray.kill(self._actor)
            self._actor = None


def _apply(message: Message, folder: Path, report: Report) -> None:
    if message[0] == "describe":
        report.describe(message[1], message[2])
    elif message[0] == "file":
        _write(folder, message[1], message[2])
    elif message[0] == "stopped":
        raise Stopped
    elif message[0] == "error":
        raise {"input": InputError, "expected": TalkiesError}.get(message[1], RuntimeError)(*message[2:])


class _Actor:
    """A generator that works elsewhere: the far end, alive in the cluster between jobs.

    Args:
        make: Makes the generator.
    """

    def __init__(self, make: Callable[[], Generator]) -> None:
        self._generate = make()
        self._told = threading.Event()

    def stop(self) -> None:
        """The job is to end at its next report."""
        self._told.set()

    def make(self, task_json: str, files: dict[str, bytes]) -> Iterator[Message]:
        """Does a job, telling what happens."""
        self._told.clear()
        with tempfile.TemporaryDirectory(prefix="talkies-") as temporary:
            folder = Path(temporary)
            for name, data in files.items():
                _write(folder, name, data)
            seen = _stamps(folder)
            messages: queue.Queue[Message | None] = queue.Queue()
            reporter = _Reporter(messages, self._told)
            thread = threading.Thread(target=self._work, args=(task_json, folder, reporter, messages), daemon=True)
            thread.start()
            ending: Message | None = None
            try:
                while (message := messages.get()) is not None:
                    if message[0] in ("stopped", "error"):
                        ending = message
                    else:
                        yield from _changes(folder, seen)
                        yield message
                    messages.task_done()
            finally:  # also when nobody listens any more
                self._told.set()
                _drain(messages, thread)
            yield from _changes(folder, seen)
            if ending is not None:
                yield ending

    def _work(self, task_json: str, folder: Path, report: Report, messages: queue.Queue[Message | None]) -> None:
        try:
            self._generate(Task.model_validate_json(task_json), folder, report)
        except Stopped:
            messages.put(("stopped",))
        except TalkiesError as error:
            kind = "input" if isinstance(error, InputError) else "expected"
            messages.put(("error", kind, str(error.args[0]).replace(f"{folder}/", ""), error.hint))
        except Exception as error:
            messages.put(("error", "unexpected", f"{type(error).__name__}: {error}"))
        finally:
            messages.put(None)


def _drain(messages: queue.Queue[Message | None], thread: threading.Thread) -> None:
    """Lets a thread that waits for its messages to be told come to its end."""
    while thread.is_alive():
        with suppress(queue.Empty):
            messages.get(timeout=0.1)
        with suppress(ValueError):  # of the message that was being told, or of none
            messages.task_done()


class _Reporter:
    """Turns reports into messages, and waits until each is told: meanwhile the folder holds still and is copied."""

    def __init__(self, messages: queue.Queue[Message | None], told: threading.Event) -> None:
        self._messages, self._told = messages, told

    def __call__(self, progress: float, doing: str) -> None:
        self._messages.put(("progress", progress, doing))
        self._messages.join()
        if self._told.is_set():
            raise Stopped

    def describe(self, seconds: float, size: str) -> None:
        self._messages.put(("describe", seconds, size))
        self._messages.join()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Whole files, by their path below the folder; what is half-written has a name that starts with a dot."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.name != LOCK:
            yield path.relative_to(folder).as_posix(), path


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in _files(folder)}


def _stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for name, path in _files(folder):
        status = path.stat()
        found[name] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def _changes(folder: Path, seen: dict[str, tuple[int, int, int]]) -> Iterator[Message]:
    """What was written or removed since; `seen` is brought up to date.

    Records (JSON) come after the files they name, removals last: a copy broken off in between is still of use.
    """
    now = _stamps(folder)
    for name in sorted(now, key=lambda name: (name.endswith(".json"), name)):
        if seen.get(name) != now[name]:
            seen[name] = now[name]
            yield ("file", name, (folder / name).read_bytes())
    for name in [name for name in seen if name not in now]:
        del seen[name]
        yield ("file", name, None)


def _write(folder: Path, name: str, data: bytes | None) -> None:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise TalkiesError(f"A worker names a file outside its folder: {name[:80]!r}.")
    path = folder / place
    if data is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as temporary:
        temporary.write_bytes(data)
