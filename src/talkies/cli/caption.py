"""`talkies caption`: a prompt from a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def caption(
    image: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Qwen-VL folder or fetched id; else any at hand.")
    ] = None,
) -> None:
    """Describe a picture by Qwen-VL, as a prompt for `talkies generate`."""
    from talkies.domain.errors import InputError
    from talkies.media.image import load_image
    from talkies.media.people import find_everybody
    from talkies.pipelines.captioner import find_captioner

    picture = load_image(image)
    captioner = find_captioner(model)
    if captioner is None:
        raise InputError("No captioning model is here.", "Get one first: talkies models fetch captioner")
    count = len(find_everybody(picture))
    people = "The person is talking." if count == 1 else f"The {count or ''} people are talking to each other."
    typer.echo(captioner.caption(picture, " ".join(people.split())))
