"""`talkies studio`: the service with its page, in the browser."""

from __future__ import annotations

import os
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def studio(
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Model folder or fetched id; may be repeated.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of queue, videos and keys.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name clients use, e.g. behind a proxy; may be repeated.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option(help="A worker on each; may be repeated.")] = None,
    i_have_consent: Annotated[
        bool, typer.Option("--i-have-consent", help="You answer for the consent of all people shown.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
) -> None:
    """Make videos in the browser: a picture, its people, their voices. Serves /v1/videos too."""
    from talkies.cli.serve import ServeOptions, assemble, default_devices, default_root, run
    from talkies.cli.voices import COMMAND_VARIABLE

    options = ServeOptions(
        root=root or default_root(),
        host=host,
        port=port,
        models=tuple(model or [None]),
        names=tuple(name or []),
        consent=i_have_consent,
        devices=tuple(device or default_devices()),
    )
    app, executor = assemble(options)
    # After `assemble`, which says what to install where the service's packages are missing.
    from talkies.serving.studio.routes import mount_studio

    mount_studio(app, os.environ.get(COMMAND_VARIABLE))
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/studio/"
    typer.echo(f"The studio is at {address}", err=True)
    if not no_browser:
        opening = threading.Timer(1.5, webbrowser.open, (address,))
        opening.daemon = True
        opening.start()
    run(app, executor, options)
