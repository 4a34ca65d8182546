"""The command line: one file per verb, gathered here."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

import talkies
from talkies.cli.caption import caption
from talkies.cli.data import app as data
from talkies.cli.doctor import doctor
from talkies.cli.evaluate import app as evaluate
from talkies.cli.examples import examples
from talkies.cli.generate import generate
from talkies.cli.keys import app as keys
from talkies.cli.models import app as models
from talkies.cli.nano import app as nano
from talkies.cli.people import people
from talkies.cli.schema import schema
from talkies.cli.serve import serve
from talkies.cli.stage import app as stage
from talkies.cli.studio import studio
from talkies.cli.train import train
from talkies.cli.verify import verify
from talkies.cli.voices import voices
from talkies.cli.worker import worker
from talkies.domain.errors import TalkiesError

app = typer.Typer(
    name="talkies",
    help="A picture of people, one voice per person and a prompt: a video in which they talk to each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"talkies {talkies.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself; every verb has its own."""


for verb in (generate, people, caption, voices, verify, doctor, schema, train, serve, studio, worker):
    app.command(epilog=examples(verb.__name__))(verb)
app.add_typer(data, name="data")
app.add_typer(keys, name="keys")
app.add_typer(evaluate, name="evaluate")
app.add_typer(models, name="models")
app.add_typer(nano, name="nano")
app.add_typer(stage, name="stage")


#: Base of the errors of a mistyped command line, whichever copy of click typer brings.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main() -> None:
    """Entry point of the `talkies` command: errors become one line and an exit code, never a traceback.

    `TALKIES_DEBUG=1` shows tracebacks after all.
    """
    # Being told to stop is like Ctrl-C: what is half-written is removed on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # `talkies ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("TALKIES_DEBUG"):
            raise
        sys.exit(_explain(error))
    if code == 130:  # typer makes this of Ctrl-C, without a word
        _complain("stopped.")
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Says in one line what went wrong; returns the exit code."""
    if isinstance(error, TalkiesError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, _UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":  # a command that only groups others, called alone
            error.show()  # type: ignore[attr-defined]
            return 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "talkies"
        _complain(f"{error.format_message().rstrip('.')}. See {command} --help.")  # type: ignore[attr-defined]
        return 2
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _complain("the disk is full; make room and start again.")
        return 1
    _complain(f"internal error: {type(error).__name__}: {reason} Run again with TALKIES_DEBUG=1 and report it.")
    return 70


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(text: str) -> None:
    print(f"talkies: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
