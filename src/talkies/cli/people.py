"""`talkies people`: who is found in a picture, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def people(
    image: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", help="Where to draw them; else beside the picture's name, here."),
    ] = None,
) -> None:
    """Find the people of a picture and draw their numbered regions."""
    import numpy as np

    from talkies.domain.errors import InputError
    from talkies.media.image import load_image
    from talkies.media.people import Person, draw, find_everybody, masks_at
    from talkies.media.staging import require_writable, staged

    target = output or Path(f"{image.stem}.people.png")
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"{target.name} is not the name of a picture.", "Use .png, .jpg or .webp.")
    require_writable(target)
    if target.exists() and image.exists() and target.samefile(image):
        raise InputError("The output is the picture itself.", "Choose another name.")
    picture = load_image(image)
    faces = find_everybody(picture)
    found = tuple(Person(f"person {number}", face=face) for number, face in enumerate(faces, 1))
    if not found:
        raise InputError(f"Nobody was found in {image.name}.", "Give the speakers boxes, masks or points of your own.")
    masks = masks_at(found, np.arange(picture.height), np.arange(picture.width))
    with staged(target) as temporary:
        draw(picture, found, masks).save(temporary)
    for number, (face, mask) in enumerate(zip(faces, masks, strict=True), 1):
        rows, columns = np.nonzero(mask)
        box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        typer.echo(f"{number}  box {box}  face at [{face.centre[0]:.0f}, {face.centre[1]:.0f}]  sure {face.score:.0%}")
    typer.echo(f"drawn in {target}", err=True)
