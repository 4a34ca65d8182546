"""`talkies nano`: the parts of the small model, in the order of `runs/cpu.sh`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talkies.domain.errors import MissingDependencyError

app = typer.Typer(help="Make the parts of the small model.", no_args_is_help=True)


@app.callback()
def _needs() -> None:
    """All of it needs OpenCV and tokenizers."""
    from importlib.util import find_spec

    missing = [
        package for module, package in (("cv2", "OpenCV"), ("tokenizers", "tokenizers")) if not find_spec(module)
    ]
    if missing:
        raise MissingDependencyError(f"This needs {' and '.join(missing)}.", "pip install 'talkies[train]'")


Recipe = Annotated[Path, typer.Argument(help="A recipe, see runs/recipes.")]


@app.command()
def speech(recipe: Recipe) -> None:
    """Train the speech encoder's head on the sound of tracks, and on voices of nobody on film."""
    from talkies.stage.tracks import recite
    from talkies.training.config import read_recipe
    from talkies.training.speech import Heard, SpeechRecipe, train

    settings = read_recipe(SpeechRecipe, recipe)

    def heard(number: int) -> Heard:
        track = recite(500_000 + number, "train", settings.output / "utterances")  # past those of the tracks
        return track.waveform, track.performance.face_units

    train(settings, heard, typer.echo)


@app.command()
def codec(recipe: Recipe) -> None:
    """Train the video codec; goes on where it stopped."""
    from talkies.training.codec import CodecRecipe, CodecTrainer
    from talkies.training.config import read_recipe

    CodecTrainer(read_recipe(CodecRecipe, recipe), typer.echo).run()


@app.command()
def freeze(
    recipe: Recipe,
    folder: Annotated[Path, typer.Argument(help="Where the codec goes, in diffusers layout.")],
    like: Annotated[
        Path | None, typer.Option(help="An earlier freeze whose statistics are kept, since latents were made by them.")
    ] = None,
) -> None:
    """Save the codec with averaged weights and the statistics of its latents."""
    from talkies.training.assemble import freeze_codec
    from talkies.training.codec import CodecRecipe
    from talkies.training.config import read_recipe

    freeze_codec(read_recipe(CodecRecipe, recipe), folder, like)


@app.command()
def latents(
    recipe: Recipe,
    share: Annotated[str | None, typer.Option(help="Only encode this share, e.g. 0/2: for several processes.")] = None,
) -> None:
    """Encode tracks as panels and pair them into clips for `talkies train`."""
    from talkies.training.config import read_recipe
    from talkies.training.prepare import PrepareRecipe, prepare, prepare_share

    settings = read_recipe(PrepareRecipe, recipe)
    if share is None:
        from talkies.stage.corpus import caption_performers
        from talkies.stage.gestures import GESTURES, preparation

        # a segment of a film begins with up to five given frames
        leads = {number: 5 + round(25 * preparation(name)) for number, name in enumerate(GESTURES, 1)}
        prepare(settings, caption_performers, leads, typer.echo)
    else:
        prepare_share(settings, share, typer.echo)


@app.command()
def words(recipe: Recipe) -> None:
    """Teach the text encoder to read captions, before it is trained along with the transformer."""
    from talkies.stage.corpus import draw_statements
    from talkies.training.composites import find_tracks
    from talkies.training.config import read_recipe
    from talkies.training.text import TextRecipe, train_text_encoder

    settings = read_recipe(TextRecipe, recipe)
    abouts = [track.about for folder in settings.tracks for track in find_tracks(folder)]
    _, share = train_text_encoder(settings, lambda rng: draw_statements(abouts, rng), typer.echo)
    typer.echo(f"{100 * share:.1f} % of what unseen captions say is read")


@app.command()
def average(
    transformers: Annotated[list[Path], typer.Argument(help="Folders; one run goes on from the other.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the mean.")],
) -> None:
    """Take the mean of several transformers' weights."""
    from talkies.training.assemble import average_transformers

    average_transformers(transformers, output)


@app.command()
def assemble(recipe: Recipe) -> None:
    """Gather the parts as one model folder."""
    from talkies.training.assemble import ModelRecipe
    from talkies.training.assemble import assemble as gather
    from talkies.training.config import read_recipe

    gather(read_recipe(ModelRecipe, recipe))
