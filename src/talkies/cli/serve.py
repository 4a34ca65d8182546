"""`talkies serve`: the HTTP service and the workers behind it."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkies.domain.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from talkies.cli.model_folder import ModelFolder
    from talkies.jobs.executors.local import LocalExecutor
    from talkies.serving.settings import ModelInfo

_LIMITS, _WORK, _WHO = "Limits", "Who does the work", "Who may use it"


@dataclass(frozen=True)
class ServeOptions:
    """How to serve; see the options of `talkies serve`.

    Attributes:
        root: Folder of queue, videos and keys.
        host, port: Where to listen.
        models: As `--model`; None is the bundled one.
        names: Host names under which clients reach the service.
        consent: The operator answers for everybody's pictures.
        devices: One worker each; empty: none is started.
        worker_options: Further words for `talkies worker`.
        waiting, active_per_owner: Videos in the queue, and one key's of them.
        retention_days: How long finished videos are kept.
        free_gigabytes: Disk space left alone.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str | None, ...] = (None,)
    names: tuple[str, ...] = ()
    consent: bool = False
    devices: tuple[str, ...] = ("auto",)
    worker_options: tuple[str, ...] = ()
    waiting: int = 1_000
    active_per_owner: int = 100
    retention_days: float = 7.0
    free_gigabytes: float = 2.0


def serve(
    root: Annotated[Path | None, typer.Option(help="Folder of queue, videos and keys.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 chooses a free one.")] = 8000,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Model folder or fetched id; may be repeated.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name clients use, e.g. behind a proxy; may be repeated.", rich_help_panel=_WHO),
    ] = None,
    i_have_consent: Annotated[
        bool,
        typer.Option("--i-have-consent", help="You answer for the consent of all people shown.", rich_help_panel=_WHO),
    ] = False,
    device: Annotated[
        list[str] | None, typer.Option(help="A worker on each; may be repeated.", rich_help_panel=_WORK)
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Workers run elsewhere: see `talkies worker`.", rich_help_panel=_WORK)
    ] = False,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster.", rich_help_panel=_WORK)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers in the cluster.", rich_help_panel=_WORK)] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each.", rich_help_panel=_WORK)] = 1.0,
    waiting: Annotated[int, typer.Option(min=1, help="Videos in the queue.", rich_help_panel=_LIMITS)] = 1_000,
    active: Annotated[int, typer.Option(min=1, help="Of them, one key's.", rich_help_panel=_LIMITS)] = 100,
    keep_days: Annotated[float, typer.Option(min=0.01, help="Of finished videos.", rich_help_panel=_LIMITS)] = 7.0,
    free_disk: Annotated[float, typer.Option(min=0, help="In GB, left alone.", rich_help_panel=_LIMITS)] = 2.0,
) -> None:
    """Serve /v1/videos on this machine; on a network, to those with a key."""
    far = ("--ray", ray, "--workers", str(workers), "--gpus", str(gpus)) if ray is not None else ()
    options = ServeOptions(
        root=root or default_root(),
        host=host,
        port=port,
        models=tuple(model or [None]),
        names=tuple(name or []),
        consent=i_have_consent,
        devices=() if no_worker else ("ray",) if ray is not None else tuple(device or default_devices()),
        worker_options=far,
        waiting=waiting,
        active_per_owner=active,
        retention_days=keep_days,
        free_gigabytes=free_disk,
    )
    app, executor = assemble(options)
    run(app, executor, options)


def assemble(options: ServeOptions) -> tuple[FastAPI, LocalExecutor | None]:
    """The application and what keeps its workers alive.

    Raises:
        MissingDependencyError: The extra is not installed.
        InputError: A model is not here, or the network could reach the service without keys.
    """
    try:
        from talkies.serving.app import create_app
    except ImportError as error:
        raise MissingDependencyError(
            f"The service needs {error.name or 'its packages'}.", "pip install 'talkies[serve]'"
        ) from None
    from talkies.cli.model_folder import find_model
    from talkies.jobs.executors.local import LocalExecutor
    from talkies.jobs.store import JobStore, Limits
    from talkies.provenance.consent import STATEMENT
    from talkies.serving.keys import Keys
    from talkies.serving.settings import ServiceSettings

    models = [find_model(name) for name in options.models]
    limits = Limits(
        waiting=options.waiting,
        active_per_owner=options.active_per_owner,
        free_bytes=int(options.free_gigabytes * 1e9),
        retention=options.retention_days * 86_400,
    )
    store = JobStore(options.root, limits)
    keys = keys_file(store.root)
    keyed = bool(Keys(keys).all())
    reachable = [name for name in (options.host, *options.names) if not is_loopback(name)]
    if reachable and not keyed:
        raise InputError(
            f"Without keys anybody who reaches {reachable[0]} could use the service.",
            "Make one first: talkies keys add NAME",
        )
    executor = None
    if options.devices:
        executor = LocalExecutor(store, _worker_command(options), options.devices)
    settings = ServiceSettings(
        models=tuple(map(_describe, models)),
        keys=keys if keyed else None,
        hosts=_hosts(options, keyed),
        consent=STATEMENT if options.consent else None,
    )
    return create_app(settings, store, executor.alive if executor else lambda: None), executor


def _describe(model: ModelFolder) -> ModelInfo:
    from talkies.serving.settings import ModelInfo

    info = ModelInfo(model.name, int(model.path.stat().st_mtime), model.size_multiple)
    steps = model.generation.get("num_inference_steps")  # checked by the worker, which has the settings' classes
    return replace(info, steps=steps) if isinstance(steps, int) and steps > 0 else info


def run(app: FastAPI, executor: LocalExecutor | None, options: ServeOptions) -> None:
    """Serves until told to stop; then the workers give their jobs back.

    Raises:
        InputError: The address cannot be listened on.
    """
    import logging
    import socket

    import uvicorn

    from talkies.cli.worker import stop_on_signals

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only for sockets that name TCP: with it every answer waits 40 ms for an ACK
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            raise InputError(
                f"{options.host}:{options.port} cannot be listened on: {error.strerror or error}.",
                "Try another --port.",
            ) from None
        host = f"[{options.host}]" if family == socket.AF_INET6 else options.host
        typer.echo(f"http://{host}:{listener.getsockname()[1]}/v1", err=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,  # longer than clients keep theirs: who closes first loses no request
            timeout_graceful_shutdown=3,
        )
        with stop_on_signals():  # of uvicorn's own, which it passes on after it has ended well
            if executor is not None:
                executor.start()
            try:
                uvicorn.Server(config).run([listener])
            finally:
                if executor is not None:
                    executor.stop()


def default_root() -> Path:
    """`service` in `$TALKIES_HOME`, else `talkies/service` in the user's data folder."""
    own = os.environ.get("TALKIES_HOME")
    if own:
        return Path(own).expanduser() / "service"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data).expanduser() if data else Path.home() / ".local" / "share") / "talkies" / "service"


def keys_file(root: Path) -> Path:
    """Where the keys of a service are."""
    return root / "keys.json"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def default_devices() -> tuple[str, ...]:
    """Every CUDA device by name, without loading torch to ask; else whatever the worker finds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = len([entry for entry in visible.split(",") if entry.strip()])
    else:
        count = sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*"))
    return tuple(f"cuda:{number}" for number in range(count)) or ("auto",)


def _hosts(options: ServeOptions, keyed: bool) -> tuple[str, ...]:
    local = ("localhost", "127.0.0.1", "[::1]")
    if options.names:
        return (*options.names, *local)
    # With keys, a page that reaches the service by a borrowed name still has no key.
    return () if keyed and not is_loopback(options.host) else (*local, options.host)


def _worker_command(options: ServeOptions) -> Callable[[str, str], Sequence[str]]:
    models = [word for model in options.models if model is not None for word in ("--model", model)]

    def command(device: str, name: str) -> Sequence[str]:
        where = () if device == "ray" else ("--device", device)
        return [
            sys.executable, "-m", "talkies.cli.main", "worker", "--root", str(options.root.absolute()), "--name", name,
            "--parent", str(os.getpid()), *where, *models, *options.worker_options,
        ]  # fmt: skip

    return command
