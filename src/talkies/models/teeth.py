"""Teeth that stay where they are when lips part: upper ones belong to the head, and lips slide over them.

Moved with the skin around it, what stands between open lips is stretched from the upper to the lower one: a smile that
begins to speak shows teeth that grow. Where lips and teeth end in the given picture can be seen; so, between the lips,
teeth keep their place in the head, what is below them is stretched alone, and where teeth reached the lower lip there
is the dark of the mouth between both. Nothing here is learnt.

Mouths are told as `[..., MOUTH]`, in units of the face's square (`face_painter`): the x of the inner corners (2), how
much is to be believed, the colour of the dark (3), and at `COLUMNS` places from corner to corner the heights of the
upper lip's and the lower lip's inner edge and of where upper teeth end.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.models.face_outlines import Outlines, at_columns, heights
from talkies.models.face_painter import grid, inverse, look_up, transform
from talkies.models.optical_flow import resized

COLUMNS = 17
MOUTH = 6 + 3 * COLUMNS

# Points of the mesh (the published numbering) along the inner lips, from the corner that is left in the picture.
_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)

_SHUT, _OPEN = 1.2, 2.4  # between lips so far apart nothing can be seen, everything
_FAR, _LOST = 6.0, 8.0  # the mesh tells of another mouth than the one that was detected
_ROWS = 24  # places looked at from lip to lip
# Teeth are this bright relative to the lip and to the brightest between the lips, this little red relative to the lip,
# and begin in the upper part of what is seen; where fewer columns show any, little is believed.
_AS_LIP, _AS_BRIGHTEST, _AS_RED, _BEGIN, _SHOWN = 0.75, 0.6, 0.75, 0.6, 0.6
_GUMS = 0.25  # what lips uncover above teeth is what is so far below the upper one's edge
_DARK = (0.28, 0.20, 0.20)  # of the lip's colour
_EDGE = 0.6  # units over which edges are soft
_SHUTS, _IS_SHUT = 1.5, 3.0  # what stands between lips has so many times the room in the picture: they close over it
_THIN = 2.0  # teeth that end this near to the lower lip go on behind it,
_HIDDEN = 0.35  # by so much of what is seen of them; below there is dark
_REACH = 16.0  # units below the lower lip's edge within which it may be when the mouth is wide open


def mouths_of(picture: Tensor, outlines: Outlines) -> Tensor:
    """The mouths of a picture's faces.

    Args:
        picture: `[3, H, W]` in [-1, 1], in which `outlines` were found.

    Returns:
        `[n, MOUTH]` float32; zeros where no teeth can be seen.
    """
    rows = [_mouth(picture.float(), outlines, k) for k in range(len(outlines.mesh))]
    return torch.stack(rows) if rows else outlines.mesh.new_zeros(0, MOUTH)


def _mouth(picture: Tensor, outlines: Outlines, k: int) -> Tensor:
    mesh, frame = outlines.mesh[k], outlines.frames[k]
    upper, lower = mesh[list(_UPPER)], mesh[list(_LOWER)]
    corners = torch.stack([upper[0, 0], upper[-1, 0]])
    at = torch.linspace(0, 1, COLUMNS) * (corners[1] - corners[0]) + corners[0]
    top = heights(upper, at)
    bottom = torch.maximum(heights(lower, at), top)
    gap = (bottom - top).amax()
    off = (corners.mean() - outlines.detected[k, 3:, 0].mean()).abs()
    believed = ((_LOST - off) / (_LOST - _FAR)).clamp(0, 1) * ((gap - _SHUT) / (_OPEN - _SHUT)).clamp(0, 1)
    if not outlines.there[k] or float(believed) == 0.0 or float(corners[1] - corners[0]) < 1.0:
        return mesh.new_zeros(MOUTH)
    share = (torch.arange(_ROWS) + 0.5)[:, None] / _ROWS
    between = _colours(picture, frame, at.expand(_ROWS, -1), top + share * (bottom - top))  # [3, rows, columns]
    inner = slice(COLUMNS // 5, COLUMNS - COLUMNS // 5)
    lip = _colours(picture, frame, at[inner].expand(4, -1), bottom[inner] + torch.arange(1, 5)[:, None] * 0.7)
    lip = lip.mean((1, 2))
    light = between.mean(0)
    bright = torch.maximum(_AS_LIP * lip.mean(), _AS_BRIGHTEST * light.flatten().quantile(0.9))
    teeth = (light > bright) & (_redness(between) < _AS_RED * _redness(lip).clamp_min(0.1))
    ends, shown = _ends_of(teeth)  # [columns], shares of the gap
    believed = believed * (shown[inner].float().mean() / _SHOWN).clamp(0, 1)
    dark = lip * lip.new_tensor(_DARK) * 2 - 1
    return torch.cat([corners, believed[None], dark, top, bottom, top + ends * (bottom - top)])


def _colours(picture: Tensor, frame: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Of a picture `[3, H, W]` in [-1, 1] at places of a face's square `[r, c]`, in [0, 1]: `[3, r, c]`."""
    per_unit = 1 / float(frame[:, 0].norm().clamp_min(1e-6))  # pixels
    shrink = max(1, int(per_unit / 4))  # averaged first
    small = resized(picture, max(1, picture.shape[1] // shrink), max(1, picture.shape[2] // shrink))
    scale = picture.new_tensor([small.shape[2] / picture.shape[2], small.shape[1] / picture.shape[1]])
    places = transform(inverse(frame)[None], x, y) * scale.view(2, 1, 1)
    return (look_up(small[None], places)[0] + 1) / 2


def _redness(colours: Tensor) -> Tensor:
    """Red beyond the mean of green and blue, relative to all: `[3, ...]` -> `[...]`."""
    return (colours[0] - (colours[1] + colours[2]) / 2) / colours.mean(0).clamp_min(0.02)


def _ends_of(teeth: Tensor) -> tuple[Tensor, Tensor]:
    """Where upper teeth end, from 0 at the upper lip to 1 at the lower one, smoothly `[columns]`, and in which columns
    there are any, `[columns]` bool; of `teeth [rows, columns]` bool."""
    rows, columns = teeth.shape
    begin = teeth.int().argmax(0)
    shown = teeth.any(0) & (begin < _BEGIN * rows)
    if not shown.any():
        return torch.zeros(columns), shown
    behind = torch.arange(rows)[:, None] > begin
    gaps = (behind & ~teeth).int()
    ends = torch.where(gaps.any(0), gaps.argmax(0), torch.tensor(rows)) / rows
    known = shown.nonzero()[:, 0]
    nearest = known[(torch.arange(columns)[:, None] - known).abs().argmin(1)]
    padded = F.pad(ends[nearest][None, None], (2, 2), mode="replicate")
    middles = padded[0, 0].unfold(0, 5, 1).median(1).values
    return F.avg_pool1d(F.pad(middles[None, None], (2, 2), mode="replicate"), 5, 1)[0, 0], shown


def teeth_known(mouths: Tensor) -> Tensor:
    """Whether of a mouth anything is known: `[..., MOUTH]` -> `[...]` bool."""
    return mouths[..., 2] > 0


def mouth_edges(mouths: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of every `x [N, H, W]` its column in `mouths [N, MOUTH]` (`at_columns`), and the heights there of the upper lip's
    edge, of the lower lip's, and of where teeth end, `[N, 3, H, W]`."""
    return at_columns(mouths[:, :2], mouths[:, 6:].unflatten(1, (3, COLUMNS)), x)


def show_teeth(flow: Tensor, paint: Tensor, reference: Tensor, squares: Tensor, frames: Tensor, mouths: Tensor) -> None:
    """Draws what stands between the lips of one face of every picture, under what is painted there already.

    Args:
        flow: From every pixel to the reference, `[K, 2, H, W]` in pixels, several for each picture.
        paint: Colours times opacity, and opacity, `[K, 4, H, W]`; changed in place.
        reference: `[N, 3, H, W]`, K a multiple of N.
        squares: From pixels to the face's square by the head's motion alone, `[K, 2, 3]`; of all zeros where there is
            no face.
        frames: From pixels of the reference to the face's square, `[N, 2, 3]`.
        mouths: `[N, MOUTH]`.
    """
    each = len(flow) // len(reference)
    known = teeth_known(mouths).repeat_interleave(each) & (squares.abs().sum((1, 2)) > 0)
    for k in known.nonzero()[:, 0].tolist():
        n = k // each
        mouth = mouths[n : n + 1]
        top, bottom, left, right = _window(mouth, squares[k : k + 1], flow.shape[-2:])
        if top >= bottom or left >= right:
            continue
        part = (slice(k, k + 1), slice(None), slice(top, bottom), slice(left, right))
        x, y = grid(bottom - top, right - left, flow)
        here = torch.stack([x + left, y + top])
        in_head = transform(squares[k : k + 1], here[0], here[1])
        came_from = here + flow[part]
        in_skin = transform(frames[n : n + 1], came_from[:, 0], came_from[:, 1])
        share, places, dark, teeth = between_lips(mouth, in_head, in_skin)
        to_pixels = inverse(frames[n : n + 1])
        shown = look_up(reference[n : n + 1], transform(to_pixels, places[:, 0], places[:, 1]), mode="bicubic")
        shown = shown.lerp(mouth[:, 3:6, None, None].expand_as(shown), dark)
        over = paint[part] * (1 - share * teeth)  # of teeth that are known nothing need be painted
        paint[part] = over + torch.cat([shown, torch.ones_like(share)], 1) * share * (1 - over[:, 3:])


def between_lips(mouth: Tensor, in_head: Tensor, in_skin: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is to be seen between lips.

    Args:
        mouth: `[N, MOUTH]`.
        in_head: Where every place lies in the face's square by the head's motion, `[N, 2, H, W]`.
        in_skin: Where it lies by the skin's.

    Returns:
        How much of each place is between lips `[N, 1, H, W]`; where in the square to look for what is seen there
        `[N, 2, H, W]`; how dark it is instead, and how much it is teeth `[N, 1, H, W]`.
    """
    corners, believed = mouth[:, :2], mouth[:, 2, None, None]
    wide = (corners[:, 1] - corners[:, 0])[:, None, None]

    def within(column: Tensor) -> Tensor:
        middle = (column / (COLUMNS - 1) - 0.5).abs()
        return _soft((0.5 - middle) * wide)

    column, edges = mouth_edges(mouth, in_skin[:, 0])
    below_skin = edges[:, 1] - in_skin[:, 1]  # how far above the lower lip's edge it would be without teeth
    squeezed = _slope(in_skin) / _slope(in_head).clamp_min(1e-3)
    open_enough = ((_IS_SHUT - squeezed) / (_IS_SHUT - _SHUTS)).clamp(0, 1)
    share = (
        believed * open_enough * torch.minimum(_soft(in_skin[:, 1] - edges[:, 0]), _soft(below_skin)) * within(column)
    )
    column, edges = mouth_edges(mouth, in_head[:, 0])
    upper, lower, end = edges.unbind(1)
    y = in_head[:, 1]
    tall = (end - upper).clamp_min(1e-3)
    thin = ((_THIN - (lower - end)) / (_THIN / 2)).clamp(0, 1)
    # skin between lips is stretched evenly: so far has the lower lip moved
    gap = (lower - upper).clamp_min(1e-3)
    uncovered = ((y - upper) * gap / (gap - below_skin).clamp_min(1e-3) - gap).clamp_min(0)
    uncovered = thin * torch.minimum(uncovered, _HIDDEN * tall)
    edge, middle = end + uncovered, end - tall / 2
    teeth = _soft(edge - y) * within(column)
    above = torch.where(y < middle, y, middle + (y - middle) * (tall / 2) / (tall / 2 + uncovered))
    under = (y - edge).clamp_min(0)  # what is below teeth is stretched between them and the lip
    stretched = end + (lower - end) * under / (under + below_skin.clamp_min(1e-3))
    seen = torch.where(y < edge, torch.maximum(above, upper.lerp(end, _GUMS)), stretched)
    dark = thin * (y - lower - uncovered).clamp(0, 1) * (1 - teeth)
    return share[:, None], torch.stack([in_head[:, 0], seen], 1), dark[:, None], teeth[:, None]


def _slope(places: Tensor) -> Tensor:
    """How fast y grows from row to row, `[N, H, W]`."""
    return torch.gradient(places[:, 1], dim=1)[0] if places.shape[2] > 1 else torch.ones_like(places[:, 1])


def _soft(distance: Tensor) -> Tensor:
    """0 outside, 1 inside, a half at the edge."""
    return (distance / _EDGE + 0.5).clamp(0, 1)


def _window(mouth: Tensor, square: Tensor, size: tuple[int, int] | torch.Size) -> tuple[int, int, int, int]:
    """Top, bottom, left and right in pixels of where a mouth `[1, MOUTH]` may be."""
    H, W = size
    left, right = mouth[0, 0] - 4, mouth[0, 1] + 4
    high, low = mouth[0, 6 : 6 + COLUMNS].amin() - 6, mouth[0, 6 + COLUMNS :].amax() + _REACH
    x, y = torch.stack([left, right, left, right]), torch.stack([high, high, low, low])
    corners = transform(inverse(square), x[None], y[None])[0].flatten(1)  # [2, 4]
    if not corners.isfinite().all():
        return 0, 0, 0, 0
    (x0, y0), (x1, y1) = corners.amin(1).floor().int().tolist(), corners.amax(1).ceil().int().tolist()
    return max(0, min(y0, H)), max(0, min(y1, H)), max(0, min(x0, W)), max(0, min(x1, W))
