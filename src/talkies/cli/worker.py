"""`talkies worker`: takes jobs from a queue and makes their videos. `talkies serve` starts one per device."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from talkies.jobs.executors.ray import Cluster
    from talkies.jobs.store import JobStore
    from talkies.jobs.work import Generator

_RAY = "Ray"


def worker(
    root: Annotated[Path, typer.Option(help="The queue's folder, as of `talkies serve`.")],
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="As of `talkies serve`.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    offload: Annotated[str, typer.Option(help="auto, none, model, group.")] = "auto",
    quantization: Annotated[str, typer.Option(help="auto, none, fp8, int8.")] = "auto",
    credentials: Annotated[bool, typer.Option(help="Sign the videos as AI-generated.")] = True,
    name: Annotated[str | None, typer.Option(help="Unique among workers.", hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(help="End when this process ends.", hidden=True)] = None,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that does the work.", rich_help_panel=_RAY)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers in the cluster.", rich_help_panel=_RAY)] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each.", rich_help_panel=_RAY)] = 1.0,
    cpus: Annotated[float, typer.Option(min=0, help="CPUs of each.", rich_help_panel=_RAY)] = 1.0,
) -> None:
    """Make the videos of a queue until told to stop."""
    import logging

    from talkies.cli.making import MakingOptions
    from talkies.cli.planning import MachineOptions
    from talkies.jobs.executors.ray import Cluster
    from talkies.jobs.store import JobStore

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    store = JobStore(root)
    machine = MachineOptions(device=device, offload=offload, quantization=quantization)
    options = MakingOptions(tuple(model or [None]), machine, credentials)
    with stop_on_signals(parent) as stop:
        if ray is not None:
            _work_far(store, options, Cluster(ray, workers, gpus, cpus), stop)
        else:
            work_here(store, options(), device, name, stop)


def work_here(store: JobStore, generate: Generator, device: str, name: str | None, stop: threading.Event) -> None:
    """Works in this process, when no other worker of the queue uses the same device.

    Args:
        store: The queue.
        generate: What makes videos.
        device: Its name is the lock's.
        name: The worker's; made up if None.
        stop: Ends it.
    """
    from talkies.jobs.folders import sole
    from talkies.jobs.work import work

    lock = store.root / f"worker-{device.replace(':', '-')}.lock"
    while not stop.is_set():
        with sole(lock) as free:  # one that was started before, and whose server is gone, may be about to end
            if free:
                work(store, generate, name or f"{device}-{secrets.token_hex(4)}", stop)
                return
        stop.wait(0.5)


def _work_far(store: JobStore, options: object, cluster: Cluster, stop: threading.Event) -> None:
    from talkies.cli.making import MakingOptions
    from talkies.jobs.executors.ray import RayExecutor

    assert isinstance(options, MakingOptions)  # noqa: S101 - says the type without importing it above
    executor = RayExecutor(store, options, cluster)
    executor.start()
    stop.wait()
    executor.stop()


@contextmanager
def stop_on_signals(parent: int | None = None) -> Iterator[threading.Event]:
    """An event that is set on SIGINT and SIGTERM, and when this process is no longer the child of `parent`."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    if parent is not None:
        threading.Thread(target=_watch_parent, args=(parent, stop), daemon=True).start()
    try:
        yield stop
    finally:
        stop.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_parent(parent: int, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()
