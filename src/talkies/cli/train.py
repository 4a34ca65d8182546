"""`talkies train RECIPE.yaml`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a run found there is gone on with.")],
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Changes a value, e.g. limits.steps=2000.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the recipe and print the memory plan.")] = False,
) -> None:
    """Train by a recipe; stop with Ctrl-C, go on with the same command."""
    from rich.console import Console

    from talkies.domain.errors import MissingDependencyError
    from talkies.training.config import load_recipe

    plan = load_recipe(recipe, tuple(override or ()))
    if plan.machine.processes > 1 and "WORLD_SIZE" not in os.environ:
        from talkies.training.launch import run_processes

        code = run_processes(sys.argv[1:], plan.machine.processes)
        raise typer.Exit(code)
    try:
        import torch

        from talkies.training.parallelize import join_world, leave_world
        from talkies.training.trainer import Trainer
    except ImportError as error:
        raise MissingDependencyError(f"Training needs {error.name}.", "pip install 'talkies[train]'") from None
    torch.set_num_threads(plan.machine.threads)
    world = join_world(plan.machine)
    console = Console(stderr=True)
    try:
        trainer = Trainer(plan, out, world, console)
        if check:
            return
        progress = trainer.run()
        if world.leads:
            console.print(f"Step {progress.step}, {progress.hours:.2f} hours. Model: {out / 'export'}")
    finally:
        leave_world()
