"""Fits the flow fields of `FacePainter` to the exact motion of the stage's faces: least squares, nothing iterative.

Every vertex of a face that can be seen says where the skin under one pixel of the face's square comes from. Per pixel
the motion is linear in what `FacePainter.basis_flow` knows; neighbouring pixels help each other.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.face_painter import DETAIL, SQUARE, face_frames, features
from talkies.models.optical_flow import resized
from talkies.training.composites import Composer, Composite
from talkies.training.exact_flow import in_sight

_RIDGE = 0.002


@torch.no_grad()
def fit_face_basis(model: AutoencoderReference, composer: Composer, draws: int, rng: np.random.Generator) -> None:
    """Fills `model.painter.basis` from composites with vertices."""
    known = len(model.painter.basis)
    pixels = SQUARE * SQUARE
    scatter, mixed = torch.zeros(pixels, known, known), torch.zeros(pixels, known, 2)
    for _ in range(draws):
        draw = composer.draw(rng)
        for inputs, cells, moves in vertex_motion(model, draw):
            scatter[cells] += inputs[:, None] * inputs
            mixed[cells] += inputs[:, None] * moves[:, None, :]
    scatter, mixed = _blur(scatter), _blur(mixed)
    solution = torch.linalg.solve(scatter + torch.eye(known) * (_RIDGE * draws + 0.5), mixed)  # [pixels, known, 2]
    model.painter.basis.copy_(solution.permute(1, 2, 0).unflatten(2, (SQUARE, SQUARE)))


def vertex_motion(model: AutoencoderReference, draw: Composite) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each of four frames: what the basis is told `[known]`, units of the square with a vertex in sight `[m]`, and
    the motion of their vertices to the reference beside the head's, `[m, 2]` in units of the square."""
    flow = torch.from_numpy(draw.flow)[None]
    pictures = (torch.from_numpy(v)[None] for v in (draw.group, draw.reference))
    group, reference = (resized(picture, *flow.shape[-2:]) for picture in pictures)
    z = model.encode_groups(group, reference, flow, torch.from_numpy(draw.faces)[None])
    frame = face_frames(torch.from_numpy(draw.points) / DETAIL)[:1]
    _, _, motion, leaning = model.read_face(z, frame)
    mesh, expression = torch.from_numpy(draw.mesh), torch.from_numpy(draw.expression)
    mesh = mesh * mesh.new_tensor([1 / DETAIL, 1 / DETAIL, 1.0])
    to = _moved(frame[0], mesh[4, :, :2])
    found = []
    for k in range(4):
        start = _moved(frame[0], _moved(motion[0, k], mesh[k, :, :2]))
        seen = torch.from_numpy(in_sight(mesh[k].numpy())) & ((start >= 0) & (start < SQUARE)).all(1)
        cell = start[seen].long()
        cells, back = torch.unique(cell[:, 1] * SQUARE + cell[:, 0], return_inverse=True)
        count = torch.zeros(len(cells)).index_add(0, back, torch.ones(len(back)))
        moves = torch.zeros(len(cells), 2).index_add(0, back, (to - start)[seen]) / count[:, None]
        inputs = torch.cat([features(expression[k]) - features(expression[4]), leaning[0, k]])
        found.append((inputs, cells, moves))
    return found


def _moved(affine: Tensor, points: Tensor) -> Tensor:
    return points @ affine[:, :2].T + affine[:, 2]


def _blur(field: Tensor) -> Tensor:
    """Over neighbouring pixels of the square, `[96 * 96, ...]`."""
    channels = field.flatten(1).T.reshape(1, -1, SQUARE, SQUARE)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = (kernel[:, None] * kernel).expand(channels.shape[1], 1, 5, 5)
    return F.conv2d(channels, weight, padding=2, groups=channels.shape[1])[0].flatten(1).T.reshape(field.shape)
