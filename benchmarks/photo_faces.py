"""The faces of a photograph, for benchmarks that look at what the codec does to them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from talkies.media.face_places import find_landmarks
from talkies.media.image import load_image
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_outlines import Outlines, find_outlines
from talkies.models.face_painter import DETAIL, SQUARE, UNIT, face_frames
from talkies.models.optical_flow import resized


class PhotoFaces(NamedTuple):
    """The n faces of a photograph.

    Attributes:
        photo: `[3, H, W]` in [-1, 1].
        squares: Faces in their squares, `[n, 3, 192, 192]`, from a picture in which they are no larger.
        outlines: Where their lids and lips are.
    """

    photo: Tensor
    squares: Tensor
    outlines: Outlines


def faces_of(codec: AutoencoderReference, path: Path) -> PhotoFaces:
    picture = load_image(path)
    points = torch.from_numpy(find_landmarks(picture))
    photo = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
    squares = [photo.new_zeros(0, 3, SQUARE * DETAIL, SQUARE * DETAIL)]
    for landmarks in points:
        length = float((landmarks[:2].mean(0) - landmarks[3:5].mean(0)).norm())
        scale = min(1.0, UNIT * DETAIL / length)
        small = resized(photo, int(photo.shape[1] * scale), int(photo.shape[2] * scale))[None]
        squares.append(codec.painter.squares(small, face_frames(landmarks * scale)[None]))
    return PhotoFaces(photo, torch.cat(squares), find_outlines(photo, points))
