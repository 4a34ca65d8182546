"""`talkies keys`: who may use a service that is reached over the network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from talkies.serving.keys import Keys

app = typer.Typer(help="API keys of the service.", no_args_is_help=True)
Root = Annotated[Path | None, typer.Option(help="The service's folder, as of `talkies serve`.")]
Name = Annotated[str, typer.Argument(help="Who it is for.")]


@app.command()
def add(name: Name, root: Root = None) -> None:
    """Make a key and show it, this once: only its hash is kept."""
    typer.echo(_keys(root).add(name))


@app.command("list")
def list_keys(root: Root = None) -> None:
    """Names and ids of all keys."""
    for key in _keys(root).all():
        typer.echo(f"{key.name:30}{key.id:24}{time.strftime('%Y-%m-%d', time.gmtime(key.created))}")


@app.command()
def remove(name: Name, root: Root = None) -> None:
    """Refuse a key from now on; its videos stay until they expire."""
    _keys(root).remove(name)


def _keys(root: Path | None) -> Keys:
    from talkies.cli.serve import default_root, keys_file
    from talkies.serving.keys import Keys

    folder = root or default_root()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Keys(keys_file(folder))
