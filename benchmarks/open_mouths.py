"""How mouths open on photographs that show teeth: a sheet to look at, and how far teeth are stretched.

    python benchmarks/open_mouths.py PHOTO... --codec MODEL/vae -o sheet.png

Every face whose teeth can be seen stands in its square as it is, then with its mouth shut, a little open, wide open and
rounded: each as the picture is moved and painted by itself, then with teeth that keep their place
(`talkies.models.teeth`).
Printed: how many teeth are known, and how tall they are when the mouth is wide open relative to the photograph, in the
middle third, moved as skin and in their place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from photo_faces import faces_of
from PIL import Image
from torch import Tensor

from talkies.domain.expression import EXPRESSION
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_painter import DETAIL, LEANING, MOUTH_PATCH, SQUARE, grid, look_up
from talkies.models.motion_latents import MOUTHS
from talkies.models.teeth import COLUMNS, between_lips, mouth_edges, mouths_of, show_teeth, teeth_known

#: What mouths do, column by column.
SHAPES: tuple[dict[str, float], ...] = (
    {},
    {"open": 1.0, "jaw": 0.7, "lower": 0.6},
    {"open": 3.2, "jaw": 3.0, "lower": 1.5},
    {"open": 1.2, "jaw": 1.0, "round": 2.0},
)
WIDE_OPEN = 2


def opened(codec: AutoencoderReference, square: Tensor, shape: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Flow in pixels and paint of one face that does something, `[1, 2, 192, 192]` and `[1, 4, 192, 192]`."""
    wanted = torch.tensor([[shape.get(name, 0.0) for name in EXPRESSION]])
    gain = [1.0 if place else codec.config.lip_gain for place in MOUTHS]
    flow, paint = codec.painter(
        square, wanted * torch.tensor(gain), codec.painter.read(square), torch.zeros(1, LEANING)
    )
    return flow * DETAIL, paint


def drawn(square: Tensor, flow: Tensor, paint: Tensor) -> Tensor:
    x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, square)
    return look_up(square, torch.stack([x, y]) + flow) * (1 - paint[:, 3:]) + paint[:, :3]


def heights(mouth: Tensor, flow: Tensor) -> tuple[float, float]:
    """How tall teeth are in the middle third relative to the still, moved as skin and in their place."""
    x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, flow)
    places = torch.stack([x, y])[None] / DETAIL
    skin = places + flow / DETAIL

    def tall(at: Tensor) -> float:
        column, edges = mouth_edges(mouth, at[:, 0])
        return float(((at[:, 1] > edges[:, 0]) & (at[:, 1] < edges[:, 2]) & _in_middle(column)).sum())

    column, edges = mouth_edges(mouth, places[:, 0])
    share, _, _, teeth = between_lips(mouth, places, skin)
    in_place = float((share * teeth)[:, 0][_in_middle(column) & (places[:, 1] > edges[:, 0])].sum())
    still = max(tall(places), 1.0)
    return tall(skin) / still, in_place / still


def _in_middle(column: Tensor) -> Tensor:
    return (column / (COLUMNS - 1) - 0.5).abs() < 1 / 6


def mouth_part(pictures: Tensor) -> Tensor:
    left, top, width, height = (side * DETAIL for side in MOUTH_PATCH)
    return pictures[..., top : top + height, left : left + width]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    codec = AutoencoderReference.from_pretrained(arguments.codec, torch_dtype=torch.float32).eval()
    found = [faces_of(codec, path) for path in arguments.photos]
    squares = torch.cat([face.squares for face in found])
    mouths = torch.cat([mouths_of(face.photo, face.outlines) for face in found])
    known = teeth_known(mouths).nonzero()[:, 0].tolist()
    print(f"{len(squares)} faces, of {len(known)} teeth are known")
    to_units = torch.eye(2, 3)[None] / DETAIL
    rows: list[Tensor] = []
    stretched: list[tuple[float, float]] = []
    for k in known:
        square, mouth = squares[k : k + 1], mouths[k : k + 1]
        columns = [square]
        for number, shape in enumerate(SHAPES):
            flow, paint = opened(codec, square, shape)
            if number == WIDE_OPEN:
                stretched.append(heights(mouth, flow))
            columns.append(drawn(square, flow, paint))
            show_teeth(flow, paint, square, to_units, to_units, mouth)
            columns.append(drawn(square, flow, paint))
        rows.append(torch.cat([mouth_part(column) for column in columns], -1))
    if known:
        (skin, place), (most, most_in_place) = np.median(stretched, 0), np.max(stretched, 0)
        print(f"teeth of wide open mouths relative to the photograph, moved as skin: {skin:.2f}, at most {most:.2f}")
        print(f"in their place: {place:.2f}, at most {most_in_place:.2f}")
    if arguments.output and known:
        sheet = torch.cat(rows).permute(0, 2, 3, 1).flatten(0, 1)
        Image.fromarray(((sheet.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()).save(arguments.output)


if __name__ == "__main__":
    main()
