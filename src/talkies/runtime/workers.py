"""Worker processes that end when the work is left: by Ctrl-C, by an error, or because nobody asks for more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from threading import Event
from types import FrameType
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_PATIENCE = 10.0  # seconds in which a worker that was told to end removes what is half-written
_busy = Event()  # this process, a worker, is doing a job


class Submit(Protocol):
    """Takes work for other processes."""

    def __call__(self, job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queues a call; function, arguments and result travel between processes."""
        ...


@contextmanager
def worker_processes(count: int) -> Iterator[Submit]:
    """Processes of one thread each.

    Left as usual, all that was queued is done first. Left by an exception, nothing more is begun, and what is being
    done is interrupted: jobs that write by `talkies.media.staging` leave nothing half-written.

    Args:
        count: How many.

    Raises:
        concurrent.futures.process.BrokenProcessPool: From a future: a worker died.
    """
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_prepare)

    def submit(job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return pool.submit(_interruptible, partial(job, *args, **kwargs))

    try:
        yield submit
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_PATIENCE)
        raise
    finally:
        pool.shutdown()


class _Ended(BaseException):
    """The parent wants no more."""


def _interruptible(job: Callable[[], R]) -> R:
    """The job; once told to end the process ends, after the job has tidied up: the pool would begin the next one."""
    try:
        _busy.set()
        return job()
    except _Ended:
        os._exit(1)
    finally:
        _busy.clear()


def _prepare() -> None:
    """One thread, whatever the libraries would like; Ctrl-C is the parent's, which ends its workers."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    if _busy.is_set():
        raise _Ended
    os._exit(1)
