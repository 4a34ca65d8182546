"""Where lids and lips of a picture's faces are: points of the face mesh, looked for until they stay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from talkies.models.face_mesh import EYE_CORNERS, INPUT_SIZE, POINTS, load_face_mesh
from talkies.models.face_painter import face_frames, grid, look_up, transform
from talkies.models.optical_flow import resized

# How wide the mesh's first look is, and how far below the eyes its middle, in distances from between the eyes to the
# mouth; how wide all others, in sides of the box around what was found. Of turned heads the first is off.
_LOOK, _BELOW_EYES, _MARGIN, _MORE_LOOKS = 4.3, 0.55, 1.5, 5
_PRESENT = 0.5


class Outlines(NamedTuple):
    """Of n faces, in units of each one's square (`face_painter`).

    Attributes:
        mesh: The mesh's points, `[n, 468, 2]`.
        detected: Landmarks that it was looked for by, `[n, 5, 2]`.
        frames: From pixels of the picture to the squares, `[n, 2, 3]`; of all zeros where there is no face.
        there: Whether the mesh sees a face, `[n]` bool.
    """

    mesh: Tensor
    detected: Tensor
    frames: Tensor
    there: Tensor


@torch.no_grad()
def find_outlines(picture: Tensor, points: Tensor) -> Outlines:
    """The outlines of a picture's faces.

    Args:
        picture: `[3, H, W]` in [-1, 1].
        points: Landmarks, `[n, 5, 2]` in pixels (`talkies.media.face_places`); rows of zeros are no face.
    """
    picture, points = picture.float(), points.float()
    frames = face_frames(points)
    mesh, there = picture.new_zeros(len(points), POINTS, 2), torch.zeros(len(points), dtype=torch.bool)
    for k in frames.flatten(1).any(1).nonzero()[:, 0].tolist():
        found, presence = _looked_for(picture, points[k])
        mesh[k], there[k] = moved(frames[k], found), bool(presence.sigmoid() > _PRESENT)
    detected = [moved(frame, face) for frame, face in zip(frames, points, strict=True)]
    return Outlines(mesh, torch.stack(detected) if detected else points, frames, there)


def moved(affine: Tensor, points: Tensor) -> Tensor:
    """`points [P, 2]` after `affine [2, 3]`."""
    return points @ affine[:, :2].T + affine[:, 2]


def heights(points: Tensor, at: Tensor) -> Tensor:
    """Of the line through `points [P, 2]`, told from left to right as far as they are, at `at [K]`."""
    across = points[:, 0].cummax(0).values
    after = torch.searchsorted(across, at).clamp(1, len(points) - 1)
    share = (at - across[after - 1]) / (across[after] - across[after - 1]).clamp_min(1e-6)
    return torch.lerp(points[after - 1, 1], points[after, 1], share.clamp(0, 1))


def at_columns(corners: Tensor, curves: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Curves told at columns from one corner to the other.

    Args:
        corners: `[N, 2]`, x of the left and the right one.
        curves: `[N, c, K]`.
        x: `[N, H, W]`.

    Returns:
        The column of every `x`, `[N, H, W]`, 0 at the left corner and K - 1 at the right one; and the curves there,
        `[N, c, H, W]`, beyond the corners as the line through the last two columns.
    """
    columns = curves.shape[-1]
    left, right = corners[:, 0, None, None], corners[:, 1, None, None]
    column = (x - left) / (right - left).clamp_min(1e-3) * (columns - 1)
    before = column.floor().clamp(0, columns - 2)
    first = before.long().flatten(1)[:, None].expand(-1, curves.shape[1], -1)
    low, high = (curves.gather(2, first + k).unflatten(2, x.shape[1:]) for k in (0, 1))
    return column, low.lerp(high, (column - before)[:, None])


def _looked_for(picture: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The mesh `[468, 2]` in pixels of the face at `points [5, 2]`, and the logit of its being there."""
    middle, down = points[:2].mean(0), points[3:].mean(0) - points[:2].mean(0)
    across = torch.stack([down[1], -down[0]]) * _LOOK / 2
    mesh, presence = _look(picture, middle + _BELOW_EYES * down, across)
    for _ in range(_MORE_LOOKS):  # as the mesh would have it: by the line of its eyes
        low, high = mesh.amin(0), mesh.amax(0)
        across = mesh[EYE_CORNERS[1]] - mesh[EYE_CORNERS[0]]
        across = across / across.norm().clamp_min(1e-6) * (high - low).amax() * _MARGIN / 2
        mesh, presence = _look(picture, (low + high) / 2, across)
    return mesh, presence


def _look(picture: Tensor, middle: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Points `[468, 2]` in pixels of `picture [3, H, W]`, and the logit of a face being there; `across [2]` leads from
    the `middle` of a square to the middle of its right side."""
    shrink = max(1, int(2 * float(across.norm()) / INPUT_SIZE))  # averaged first: looking up alone would alias
    small = resized(picture, max(1, picture.shape[1] // shrink), max(1, picture.shape[2] // shrink))
    scale = picture.new_tensor([small.shape[2] / picture.shape[2], small.shape[1] / picture.shape[1]])
    square = torch.stack([across, torch.stack([-across[1], across[0]])], 1)  # [2, 2]: right and down
    affine = torch.cat([square, middle[:, None]], 1)
    x, y = (2 * side / INPUT_SIZE - 1 for side in grid(INPUT_SIZE, INPUT_SIZE, picture))
    crop = (look_up(small[None], transform(affine[None], x, y) * scale.view(2, 1, 1)) + 1) / 2
    found, presence = load_face_mesh()(crop.contiguous(memory_format=torch.channels_last))
    return moved(affine, (found[0, :, :2] + 0.5) * (2 / INPUT_SIZE) - 1), presence
