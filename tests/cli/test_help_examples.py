"""The examples below `--help` name options that there are."""

from __future__ import annotations

import shlex

import pytest
import typer

from talkies.cli.examples import examples
from talkies.cli.main import app

ROOT = typer.main.get_command(app)
LINES = [
    (verb, line.strip().split("        ")[0].split(";")[0])
    for verb in ROOT.commands  # type: ignore[attr-defined]
    for line in (examples(verb) or "").splitlines()
    if line.strip().startswith("talkies")
]


def test_the_verbs_people_begin_with_have_examples() -> None:
    assert {"generate", "people", "voices", "train", "serve", "studio"} <= {verb for verb, _ in LINES}


@pytest.mark.parametrize("line", [line for _, line in LINES])
def test_their_options_are_there(line: str) -> None:
    _, verb, *words = shlex.split(line)
    command = ROOT.commands[verb]  # type: ignore[attr-defined]
    known = {
        name for parameter in getattr(command, "params", ()) for name in (*parameter.opts, *parameter.secondary_opts)
    }
    if not hasattr(command, "commands"):
        assert {word for word in words if word.startswith("-")} <= known
