"""`talkies evaluate fit-...`: making the networks that evaluation looks through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[Path, typer.Argument(help="A recipe, see runs/recipes.")]
Out = Annotated[Path | None, typer.Option(help="File for the weights, .safetensors; else nothing is kept.")]


def fit_speech(
    tracks: Annotated[Path, typer.Argument(help="Folder of `stage tracks` to fit to.")],
    test: Annotated[Path, typer.Option(help="Folder of `stage tracks` with other people, voices and sentences.")],
    out: Out = None,
) -> None:
    """Fit what voices say about lips to the stage's truth, and say how well it does on others."""
    from talkies.evaluation.speech import fit, judge, read_tracks, save_filter

    weights = fit(read_tracks(tracks))
    for name, value in judge(weights, read_tracks(test)).items():
        typer.echo(f"{name}: {value:.4g}")
    if out is not None:
        save_filter(weights, out)


def fit_sync(recipe: Recipe, out: Out = None) -> None:
    """Fit the sync expert to the stage's people, and say how well it does on others; goes on where it stopped."""
    from talkies.evaluation.fitting.sync import SyncRecipe
    from talkies.evaluation.fitting.sync import fit_sync as fit
    from talkies.training.config import read_recipe

    for name, value in fit(read_recipe(SyncRecipe, recipe), out, typer.echo).items():
        typer.echo(f"{name}: {value:.4g}")


def fit_units(recipe: Recipe, out: Out = None) -> None:
    """Fit the face units to the stage's truth, and say how well it does on others; goes on where it stopped."""
    from talkies.evaluation.fitting.units import UnitsRecipe
    from talkies.evaluation.fitting.units import fit_units as fit
    from talkies.training.config import read_recipe

    for name, (r, error) in fit(read_recipe(UnitsRecipe, recipe), out, typer.echo).items():
        typer.echo(f"{name}: r {r:.3f}, mean absolute error {error:.4f}")


def fit_gestures(recipe: Recipe, out: Out = None) -> None:
    """Fit head gestures to the stage, and say how well they are told on others; goes on where it stopped."""
    from talkies.evaluation.fitting.gestures import GesturesRecipe
    from talkies.evaluation.fitting.gestures import fit_gestures as fit
    from talkies.training.config import read_recipe

    for name, value in fit(read_recipe(GesturesRecipe, recipe), out, typer.echo).items():
        typer.echo(f"{name}: {value:.4g}")


def fit_arms(recipe: Recipe, out: Out = None) -> None:
    """Fit arm gestures to the stage, and say how well they are told on others; goes on where it stopped."""
    from talkies.evaluation.fitting.arms import ArmsRecipe
    from talkies.evaluation.fitting.arms import fit_arms as fit
    from talkies.training.config import read_recipe

    for name, value in fit(read_recipe(ArmsRecipe, recipe), out, typer.echo).items():
        typer.echo(f"{name}: {value:.4g}")
