"""How shut eyes look on photographs: a sheet to look at, and how much of their sharpness is left.

    python benchmarks/shut_eyes.py PHOTO... --codec MODEL/vae [--codec OTHER/vae] -o sheet.png

Every face that is found stands in its square as it is, then half shut and shut, once for each codec. Printed: sharpness
(mean square of the Laplacian) of what is around the eyes when they are shut, relative to the photograph; and what share
of that part is covered by paint instead of moved.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from talkies.domain.expression import BLINK, EYES_SHUT
from talkies.media.face_places import find_landmarks
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_painter import (
    DETAIL,
    EXPRESSIONS,
    EYE_PATCH,
    LEANING,
    SQUARE,
    UNIT,
    face_frames,
    grid,
    look_up,
)
from talkies.models.optical_flow import resized

_LAPLACE = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)


def faces(codec: AutoencoderReference, path: Path) -> Tensor:
    """The faces of a photograph in their squares, `[n, 3, 192, 192]`, from a picture in which they are no larger."""
    picture = Image.open(path).convert("RGB")
    points = torch.from_numpy(np.asarray(find_landmarks(picture), np.float32))
    photo = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
    squares = []
    for landmarks in points:
        length = float((landmarks[:2].mean(0) - landmarks[3:5].mean(0)).norm())
        scale = min(1.0, UNIT * DETAIL / length)
        small = resized(photo, int(photo.shape[1] * scale), int(photo.shape[2] * scale))[None]
        squares.append(codec.painter.squares(small, face_frames(landmarks * scale)[None]))
    return torch.cat(squares)


def shut(codec: AutoencoderReference, squares: Tensor, amount: float) -> tuple[Tensor, Tensor]:
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


def sharpness(pictures: Tensor) -> Tensor:
    """`[n, 3, h, w]` -> `[n]`."""
    return F.conv2d(pictures.mean(1, keepdim=True), _LAPLACE).square().mean((1, 2, 3))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--codec", type=Path, action="append", required=True)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    codecs = [AutoencoderReference.from_pretrained(path, torch_dtype=torch.float32).eval() for path in arguments.codec]
    still = torch.cat([faces(codecs[0], path) for path in arguments.photos])
    columns = [still]
    print(f"{len(still)} faces")
    for path, codec in zip(arguments.codec, codecs, strict=True):
        (half, _), (whole, paint) = (shut(codec, still, amount) for amount in (0.5, 1.0))
        left = (sharpness(around_eyes(whole)) / sharpness(around_eyes(still))).median()
        print(f"{path}: {left:.2f} of the sharpness left (median), {around_eyes(paint).mean():.1%} painted")
        columns += [half, whole]
    if arguments.output:
        sheet = torch.cat([around_eyes(column) for column in columns], -1)  # [n, 3, h, w]
        pixels = ((torch.cat(list(sheet), -2).clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(arguments.output)


if __name__ == "__main__":
    main()
