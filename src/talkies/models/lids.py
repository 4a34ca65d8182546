"""Eyes that turn and shut: what lies between the lids moves with the gaze, and the upper lid comes down over it, with
its lashes and its skin.

Nothing here is learnt: where the lids' edges are is found by the face mesh, and the rest is geometry. Between the fold
under the brow and the lid's edge skin is stretched, at the edge not at all; below the edge nothing changes.

Lids are told as `[..., 2, LIDS]`: of either eye, as seen from left to right, in units of the face's square
(`face_painter`), its corners' x (2), how far above the lid its fold is, how much is to be believed of it all, and the
heights of the upper and the lower lid's edge at `COLUMNS` places from corner to corner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from talkies.models.face_mesh import EYE_CORNERS, INPUT_SIZE, load_face_mesh
from talkies.models.face_painter import face_frames, grid, inverse, look_up, transform, turn
from talkies.models.optical_flow import resized

COLUMNS = 17
LIDS = 4 + 2 * COLUMNS

# Points of the mesh (the published numbering) of the eye that is left in the picture, and of the right one.
_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW_ABOVE = ((52, 159), (282, 386))  # the brow's lower edge, and the lid's edge below it

# How wide the mesh's first look is, and how far below the eyes its middle, in distances from between the eyes to the
# mouth; how wide all others, in sides of the box around what was found. Of turned heads the first is off.
_LOOK, _BELOW_EYES, _MARGIN, _MORE_LOOKS = 4.3, 0.55, 1.5, 5
_FOLD, _TO_BROW = 1.15, 0.55  # where skin ends that can be stretched: in openings of the eye, and in distances to brows
# The mesh has eyes a little too small, and a lid that falls short leaves a slit.
_WIDER, _DEEPER = 1.12, 1.35
_FAR, _LOST = 6.0, 8.0  # of profiles the mesh tells of an eye that nobody sees: units away from where one was detected
_PRESENT = 0.5
# An eyeball's radius in widths of an eye (12 of 30 mm); over how much of the width and of the opening what moves comes
# to rest; eyes whose opening is less than so much of the width look down or laugh, and stay as they are.
_EYEBALL, _AT_CORNERS, _AT_LIDS, _NARROW = 0.4, 0.2, 0.15, 0.1


@torch.no_grad()
def find_lids(picture: Tensor, points: Tensor) -> Tensor:
    """The lids of a picture's faces.

    Args:
        picture: `[3, H, W]` in [-1, 1].
        points: Landmarks, `[n, 5, 2]` in pixels (`talkies.media.face_places`); rows of zeros are no face.

    Returns:
        `[n, 2, LIDS]` float32; zeros where nothing is to be believed.
    """
    rows = [_lids_of(picture.float(), face.float()) for face in points]
    return torch.stack(rows) if rows else picture.new_zeros(0, 2, LIDS, dtype=torch.float32)


def _lids_of(picture: Tensor, points: Tensor) -> Tensor:
    frame = face_frames(points)
    if not frame.any():
        return frame.new_zeros(2, LIDS)
    middle, down = points[:2].mean(0), points[3:].mean(0) - points[:2].mean(0)
    across = torch.stack([down[1], -down[0]]) * _LOOK / 2
    mesh, presence = _mesh(picture, middle + _BELOW_EYES * down, across)
    for _ in range(_MORE_LOOKS):  # as the mesh would have it: by the line of its eyes
        low, high = mesh.amin(0), mesh.amax(0)
        across = mesh[EYE_CORNERS[1]] - mesh[EYE_CORNERS[0]]
        across = across / across.norm().clamp_min(1e-6) * (high - low).amax() * _MARGIN / 2
        mesh, presence = _mesh(picture, (low + high) / 2, across)
    found, detected = (_moved(frame, each) for each in (mesh, points[:2]))
    there = (presence.sigmoid() > _PRESENT).float()
    return torch.stack([_eye(found, side, detected[side]) for side in (0, 1)]) * there


def _mesh(picture: Tensor, middle: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
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
    return _moved(affine, (found[0, :, :2] + 0.5) * (2 / INPUT_SIZE) - 1), presence


def _moved(affine: Tensor, points: Tensor) -> Tensor:
    """`points [P, 2]` after `affine [2, 3]`."""
    return points @ affine[:, :2].T + affine[:, 2]


def _eye(mesh: Tensor, side: int, detected: Tensor) -> Tensor:
    """`[LIDS]` of one eye."""
    upper, lower = (_wider(mesh[list(curve[side])]) for curve in (_UPPER, _LOWER))
    off = (upper[:, 0].mean() - detected[0]).abs()
    believed = ((_LOST - off) / (_LOST - _FAR)).clamp(0, 1)
    corners = torch.stack([upper[0, 0], upper[-1, 0]])
    at = torch.linspace(0, 1, COLUMNS) * (corners[1] - corners[0]) + corners[0]
    top = _heights(upper, at)
    opening = _DEEPER * (_heights(lower, at) - top).clamp_min(0)
    brow, lid = _BROW_ABOVE[side]
    fold = torch.minimum(_FOLD * opening.max(), _TO_BROW * (mesh[lid, 1] - mesh[brow, 1])).clamp_min(0.5)
    return torch.cat([corners, fold[None], believed[None], top, top + opening])


def _wider(curve: Tensor) -> Tensor:
    """`[P, 2]`, wider than the mesh has an eye."""
    middle = curve.mean(0)
    return middle + (curve - middle) * curve.new_tensor([_WIDER, 1.0])


def _heights(points: Tensor, at: Tensor) -> Tensor:
    """Of the line through `points [P, 2]`, told from left to right as far as they are, at `at [K]`."""
    across = points[:, 0].cummax(0).values
    after = torch.searchsorted(across, at).clamp(1, len(points) - 1)
    share = (at - across[after - 1]) / (across[after] - across[after - 1]).clamp_min(1e-6)
    return torch.lerp(points[after - 1, 1], points[after, 1], share.clamp(0, 1))


def lids_known(lids: Tensor) -> Tensor:
    """Whether of either eye anything is known: `[..., 2, LIDS]` -> `[...]` bool."""
    return lids[..., 3].amax(-1) > 0


def lid_shift(lids: Tensor, shut: Tensor, places: Tensor) -> Tensor:
    """From every place of the face's square to what is to be seen there, downwards: 0 or less.

    Args:
        lids: `[N, 2, LIDS]`.
        shut: How far eyes are shut, `[N]` in [0, 1].
        places: x and y in units of the square, `[N, 2, H, W]`.

    Returns:
        `[N, 1, H, W]` in units.
    """
    x, y = places[:, 0], places[:, 1]
    shift = torch.zeros_like(x)
    for eye in lids.unbind(1):  # [N, LIDS]
        fold, believed = (eye[:, k, None, None] for k in (2, 3))
        column, upper, lower = _edges(eye, x)
        fallen = (shut[:, None, None] * believed) * (lower - upper)
        above = upper + fallen - y  # above the lid's edge, where it is now
        long = fold + fallen
        covered = (above > 0) & (above < long) & (column > 0) & (column < COLUMNS - 1)
        # skin that was `from_edge` above the edge lies `above` it now: slope 1 at the edge, all of the fold at its end
        from_edge = fold * (1 - (1 - (above / long).clamp(0, 1)).pow(long / fold.clamp_min(1e-3)))
        shift = torch.where(covered, upper - from_edge - y, shift)
    return shift[:, None]


def gaze_shift(lids: Tensor, gaze: Tensor, places: Tensor) -> Tensor:
    """From every place of the face's square to what is to be seen there when eyes have turned: what lies between the
    lids moves as one piece and comes to rest at the corners and under the lids.

    Args:
        lids: `[N, 2, LIDS]`.
        gaze: How far eyes have turned from where they look in the picture, `[N, 2]` in degrees: to the right of the
            picture, and down.
        places: x and y in units of the square, `[N, 2, H, W]`.

    Returns:
        `[N, 2, H, W]` in units.
    """
    x, y = places[:, 0], places[:, 1]
    shift = torch.zeros_like(places)
    for eye in lids.unbind(1):  # [N, LIDS]
        (left, right), believed = (eye[:, k, None, None] for k in (0, 1)), eye[:, 3, None, None]
        width = (right - left).clamp_min(1e-3)
        column, upper, lower = _edges(eye, x)
        opening = (lower - upper) / _DEEPER  # as the mesh has it
        tallest = ((eye[:, 4 + COLUMNS :] - eye[:, 4 : 4 + COLUMNS]).amax(1) / _DEEPER)[:, None, None]
        open_enough = ((tallest / width - _NARROW) / _NARROW).clamp(0, 1)
        middle = (column / (COLUMNS - 1) - 0.5).abs()
        across = ((0.5 - middle) / _AT_CORNERS).clamp(0, 1)
        down = (y - upper) / opening.clamp_min(1e-3)
        between = (torch.minimum(down, 1 - down) / _AT_LIDS).clamp(0, 1)
        share = believed * open_enough * across * across * (3 - 2 * across) * between
        turned = gaze.deg2rad().sin()[:, :, None, None] * (_EYEBALL * width)[:, None]
        shift = shift - turned * share[:, None]
    return shift


def _edges(eye: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every `x [N, H, W]`: its column, and the heights of the upper and the lower lid's edge there."""
    left, right = eye[:, 0, None, None], eye[:, 1, None, None]
    column = (x - left) / (right - left).clamp_min(1e-3) * (COLUMNS - 1)
    before = column.floor().clamp(0, COLUMNS - 2)
    share, first = column - before, before.long()
    upper, lower = (
        _gathered(curve, first).lerp(_gathered(curve, first + 1), share)
        for curve in (eye[:, 4 : 4 + COLUMNS], eye[:, 4 + COLUMNS :])
    )
    return column, upper, lower


def move_eyes(
    layers: tuple[Tensor, Tensor, Tensor], squares: Tensor, lids: Tensor, shut: Tensor | None, gaze: Tensor | None
) -> None:
    """Turns the eyes of one face of every picture and lets lids fall over them, layers changed in place.

    Args:
        layers: Flow `[K, 2, H, W]` in pixels and two more `[K, c, H, W]`, several for each picture.
        squares: From pixels to units of the face's square, `[K, 2, 3]`; of all zeros where there is no face.
        lids: `[N, 2, LIDS]`, K a multiple of N.
        shut: How far, `[K]` in [0, 1], or None.
        gaze: How far they turn, `[K, 2]` in degrees (`gaze_shift`), or None.
    """
    lids = lids.repeat_interleave(len(squares) // len(lids), 0)
    known = lids_known(lids) & (squares.abs().sum((1, 2)) > 0)
    for told, shift in ((gaze, gaze_shift), (shut, _lid_fall)):  # lids fall over eyes that have turned
        if told is None:
            continue
        for k in (told.reshape(len(squares), -1).any(1) & known).nonzero()[:, 0].tolist():
            own = slice(k, k + 1)
            _move([layer[own] for layer in layers], squares[own], lids[own], partial(shift, lids[own], told[own]))


def _lid_fall(lids: Tensor, shut: Tensor, places: Tensor) -> Tensor:
    """`lid_shift` as what moves both ways, `[N, 2, H, W]`."""
    down = lid_shift(lids, shut, places)
    return torch.cat([torch.zeros_like(down), down], 1)


def _move(layers: Sequence[Tensor], square: Tensor, lids: Tensor, shift_at: Callable[[Tensor], Tensor]) -> None:
    """Of one picture, layers `[1, c, H, W]`: around its eyes is seen what lies `shift_at` every place off."""
    H, W = layers[0].shape[-2:]
    corners = transform(inverse(square), lids[0, :, :2], lids[0, :, 4 : 4 + COLUMNS].mean(1, True).expand(2, 2))[0]
    reach = 2 * float((lids[0, :, 1] - lids[0, :, 0]).amax() / square[0, :, 0].norm())
    low, high = corners.amin((1, 2)) - reach, corners.amax((1, 2)) + reach
    left, right = (int(v.clamp(0, W)) for v in (low[0], high[0]))
    top, bottom = (int(v.clamp(0, H)) for v in (low[1], high[1]))
    if left >= right or top >= bottom:
        return
    x, y = grid(bottom - top, right - left, square)
    x, y = x + left, y + top
    shift = turn(inverse(square), shift_at(transform(square, x, y)))
    for n, layer in enumerate(layers):
        there = look_up(layer, torch.stack([x, y]) + shift)
        layer[:, :, top:bottom, left:right] = there + shift if n == 0 else there


def _gathered(curve: Tensor, index: Tensor) -> Tensor:
    """`curve [N, K]` at `index [N, H, W]`."""
    return curve.gather(1, index.flatten(1)).view_as(index)
