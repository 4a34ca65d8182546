"""How eyes that turn and shut look on photographs: a sheet to look at, and how much of shut eyes' sharpness is left.

    python benchmarks/shut_eyes.py PHOTO... --codec MODEL/vae [--codec OTHER/vae] -o sheet.png

Every face that is found stands in its square as it is, then looking 12 degrees to the left and to the right of where it
does, then half shut and shut: by its lids, as in films, where they are known; and once for each codec painted, as it is
where they are not. Printed: the sharpness (as of the metric `drift`) of what is around the eyes when they are shut,
relative to the photograph, which says nothing of whether they look right; and what share of that part is covered by
paint instead of moved.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from photo_faces import faces_of
from PIL import Image
from torch import Tensor

from talkies.domain.expression import BLINK, EYES_SHUT
from talkies.evaluation.appearance import look
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_painter import (
    DETAIL,
    EXPRESSIONS,
    EYE_PATCH,
    LEANING,
    SQUARE,
    grid,
    look_up,
)
from talkies.models.lids import gaze_shift, lid_shift, lids_known, lids_of


def fallen(squares: Tensor, lids: Tensor, amount: float) -> Tensor:
    """Squares with eyes shut by an amount in [0, 1], by their lids."""
    x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, squares)
    places = torch.stack([x, y]).expand(len(squares), -1, -1, -1)
    down = lid_shift(lids, torch.full((len(lids),), amount), places / DETAIL) * DETAIL
    return look_up(squares, places + torch.cat([torch.zeros_like(down), down], 1))


def turned(squares: Tensor, lids: Tensor, degrees: float) -> Tensor:
    """Squares with eyes turned to the right."""
    x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, squares)
    places = torch.stack([x, y]).expand(len(squares), -1, -1, -1)
    shift = gaze_shift(lids, torch.tensor([[degrees, 0.0]]).expand(len(squares), -1), places / DETAIL)
    return look_up(squares, places + shift * DETAIL)


def painted(codec: AutoencoderReference, squares: Tensor, amount: float) -> tuple[Tensor, Tensor]:
    """Squares with eyes shut by an amount in [0, 1], and how much is paint, `[n, 1, 192, 192]`."""
    wanted = torch.zeros(len(squares), EXPRESSIONS)
    wanted[:, BLINK] = EYES_SHUT * amount
    flow, paint = codec.painter(squares, wanted, codec.painter.read(squares), torch.zeros(len(squares), LEANING))
    x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, squares)
    moved = look_up(squares, torch.stack([x, y]) + flow * DETAIL)
    return moved * (1 - paint[:, 3:]) + paint[:, :3], paint[:, 3:]


def around_eyes(squares: Tensor) -> Tensor:
    left, top, width, height = (side * DETAIL for side in EYE_PATCH)
    return squares[..., top : top + height, left : left + width]


def in_bytes(pictures: Tensor) -> np.ndarray:
    """`[..., 3, h, w]` in [-1, 1] -> `[..., h, w, 3]` uint8."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-3, -1).numpy()


def sharpness(squares: Tensor) -> np.ndarray:
    """Around the eyes of `[n, 3, 192, 192]`, `[n]`."""
    return np.array([look(part, None)[4] for part in in_bytes(around_eyes(squares))])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--codec", type=Path, action="append", required=True)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    codecs = [AutoencoderReference.from_pretrained(path, torch_dtype=torch.float32).eval() for path in arguments.codec]
    found = [faces_of(codecs[0], path) for path in arguments.photos]
    still, lids = torch.cat([face.squares for face in found]), torch.cat([lids_of(face.outlines) for face in found])
    print(f"{len(still)} faces, of {int(lids_known(lids).sum())} the lids are known")
    if not len(still):
        return
    columns = [still, *(turned(still, lids, degrees) for degrees in (-12.0, 12.0))]
    columns += [fallen(still, lids, amount) for amount in (0.5, 1.0)]
    print(f"lids: {np.median(sharpness(columns[-1]) / sharpness(still)):.2f} of the sharpness left (median)")
    for path, codec in zip(arguments.codec, codecs, strict=True):
        (half, _), (whole, paint) = (painted(codec, still, amount) for amount in (0.5, 1.0))
        left = np.median(sharpness(whole) / sharpness(still))
        print(f"{path}: {left:.2f} of the sharpness left (median), {around_eyes(paint).mean():.1%} painted")
        columns += [half, whole]
    if arguments.output:
        sheet = torch.cat([around_eyes(column) for column in columns], -1)  # [n, 3, h, w]
        Image.fromarray(in_bytes(torch.cat(list(sheet), -2))).save(arguments.output)


if __name__ == "__main__":
    main()
