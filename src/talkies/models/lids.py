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

from talkies.models.face_outlines import Outlines, at_columns, heights
from talkies.models.face_painter import grid, inverse, look_up, transform, turn

COLUMNS = 17
LIDS = 4 + 2 * COLUMNS

# Points of the mesh (the published numbering) of the eye that is left in the picture, and of the right one.
_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW_ABOVE = ((52, 159), (282, 386))  # the brow's lower edge, and the lid's edge below it

_FOLD, _TO_BROW = 1.15, 0.55  # where skin ends that can be stretched: in openings of the eye, and in distances to brows
# The mesh has eyes a little too small, and a lid that falls short leaves a slit.
_WIDER, _DEEPER = 1.12, 1.35
_FAR, _LOST = 6.0, 8.0  # of profiles the mesh tells of an eye that nobody sees: units away from where one was detected
# An eyeball's radius in widths of an eye (12 of 30 mm); over how much of the width and of the opening what moves comes
# to rest; eyes whose opening is less than so much of the width look down or laugh, and stay as they are.
_EYEBALL, _AT_CORNERS, _AT_LIDS, _NARROW = 0.4, 0.2, 0.15, 0.1


def lids_of(outlines: Outlines) -> Tensor:
    """The lids of faces, `[n, 2, LIDS]` float32; zeros where nothing is to be believed."""
    rows = [
        torch.stack([_eye(mesh, side, detected[side]) for side in (0, 1)]) * there
        for mesh, detected, there in zip(outlines.mesh, outlines.detected, outlines.there, strict=True)
    ]
    return torch.stack(rows) if rows else outlines.mesh.new_zeros(0, 2, LIDS)


def _eye(mesh: Tensor, side: int, detected: Tensor) -> Tensor:
    """`[LIDS]` of one eye."""
    upper, lower = (_wider(mesh[list(curve[side])]) for curve in (_UPPER, _LOWER))
    off = (upper[:, 0].mean() - detected[0]).abs()
    believed = ((_LOST - off) / (_LOST - _FAR)).clamp(0, 1)
    corners = torch.stack([upper[0, 0], upper[-1, 0]])
    at = torch.linspace(0, 1, COLUMNS) * (corners[1] - corners[0]) + corners[0]
    top = heights(upper, at)
    opening = _DEEPER * (heights(lower, at) - top).clamp_min(0)
    brow, lid = _BROW_ABOVE[side]
    fold = torch.minimum(_FOLD * opening.max(), _TO_BROW * (mesh[lid, 1] - mesh[brow, 1])).clamp_min(0.5)
    return torch.cat([corners, fold[None], believed[None], top, top + opening])


def _wider(curve: Tensor) -> Tensor:
    """`[P, 2]`, wider than the mesh has an eye."""
    middle = curve.mean(0)
    return middle + (curve - middle) * curve.new_tensor([_WIDER, 1.0])


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
    column, edges = at_columns(eye[:, :2], eye[:, 4:].unflatten(1, (2, COLUMNS)), x)
    return column, edges[:, 0], edges[:, 1]


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
