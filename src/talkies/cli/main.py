"""The command line: one file per verb, gathered here."""

from __future__ import annotations

import sys

import typer

from talkies.cli.stage import app as stage
from talkies.cli.train import train
from talkies.domain.errors import TalkiesError

app = typer.Typer(
    name="talkies",
    help="A picture of people, one voice per person and a prompt: a video in which they talk to each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _root() -> None:
    """Keeps the verbs as sub-commands even while there is only one."""


app.command()(train)
app.add_typer(stage, name="stage")


def main() -> None:
    """Entry point of the `talkies` command: known errors become one line and an exit code, never a traceback."""
    try:
        app()
    except TalkiesError as error:
        print(f"talkies: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
