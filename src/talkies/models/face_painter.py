"""Makes faces of a picture do what eight numbers say (`talkies.domain.expression`).

Every face is looked at in a square of its own, eyes and mouth always in the same place: there, what lips and lids do is
nearly the same picture for everybody. Three steps:

1. a **reader** tells what the face does in the given picture;
2. a **basis** of flow fields, one for every expression, its square, and the coarse flow at nine places (a head that
   turns is not flat), moves the skin from there to what it should do: a linear fit to the exact motion of the stage's
   faces, so that it is right before anything is trained;
3. two **networks**, one around the mouth and one around the eyes, see both, mend the flow (lids fall by it) and draw
   what no flow can bring, the inside of the mouth above all; their last parts work twice as finely, where teeth, lips
   and lashes have edges.

Lengths and places are told in units of the square, of which it is 96 wide; its pixels are `DETAIL` times as many.
Nothing in it depends on how large the face is in the picture or where. Related work: the aligned squares are as old as
active appearance models (Cootes et al., ECCV 1998); LivePortrait (2024) drives pictures by keypoints in such squares.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from talkies.domain.expression import BLINK, EXPRESSION, EYES_SHUT, KEPT

EXPRESSIONS = len(EXPRESSION)
FEATURES = 2 * EXPRESSIONS
LEANING_AT = (20.0, 48.0, 76.0)  # rows and columns of the square where flow beside the head's affine motion is told
LEANING = 2 * len(LEANING_AT) ** 2
SQUARE = 96  # units of a face's square
DETAIL = 2  # pixels to a unit
UNIT = 32.0  # units from between the eyes to the mouth
MOUTH = (48.0, 56.0)  # where the mouth's middle lies in it (x, y)
#: The parts of it in which networks draw, left, top, width and height: mouth, chin and cheeks; eyes and brows.
MOUTH_PATCH, EYE_PATCH = (16, 32, 64, 64), (12, 4, 72, 40)
#: The face in its square: middle and half axes of an ellipse.
_OVAL = (48.0, 46.0, 42.0, 46.0)
_LIDS_MOVE = EYES_SHUT / 4  # from here on eyes are painted wholly
_KEPT = tuple(name in KEPT for name in EXPRESSION)


def face_frames(points: Tensor) -> Tensor:
    """From pixels of the picture to units of the face's square.

    Args:
        points: `[..., 5, 2]` in pixels (x, y): two eyes, nose, two corners of the mouth.

    Returns:
        `[..., 2, 3]` similarities; of all zeros where eyes and mouth are in one place (no face).
    """
    eyes, mouth = points[..., :2, :].mean(-2), points[..., 3:5, :].mean(-2)
    down = mouth - eyes
    length = down.norm(dim=-1, keepdim=True)
    across = torch.stack([down[..., 1], -down[..., 0]], -1)
    turn = torch.stack([across, down], -2) * (UNIT / length.clamp_min(1e-6).square())[..., None]  # [..., 2, 2]
    shift = points.new_tensor(MOUTH) - _turned(turn, mouth)
    return torch.cat([turn, shift[..., None]], -1) * (length > 1e-3)[..., None]


def inverse(affine: Tensor) -> Tensor:
    """Of `[..., 2, 3]`, regular."""
    a, b, c, d = affine[..., 0, 0], affine[..., 0, 1], affine[..., 1, 0], affine[..., 1, 1]
    turn = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]
    return torch.cat([turn, -_turned(turn, affine[..., 2])[..., None]], -1)


def joined(first: Tensor, then: Tensor) -> Tensor:
    """The one after the other, of `[..., 2, 3]`."""
    turn = torch.stack([_turned(then[..., :2], first[..., k]) for k in (0, 1)], -1)
    return torch.cat([turn, (_turned(then[..., :2], first[..., 2]) + then[..., 2])[..., None]], -1)


def _turned(matrix: Tensor, vector: Tensor) -> Tensor:
    """`[..., 2, 2]` times `[..., 2]`, not as a matrix product: places in bf16, as autocast would have them, are off by
    half a pixel."""
    return (matrix * vector[..., None, :]).sum(-1)


def turn(affine: Tensor, vectors: Tensor) -> Tensor:
    """`vectors [N, 2, H, W]` under the linear part of `affine [N, 2, 3]`."""
    a = affine[:, :, :, None, None]
    return a[:, :, 0] * vectors[:, :1] + a[:, :, 1] * vectors[:, 1:]


def transform(affine: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Points moved by `affine [N, 2, 3]`: `x`, `y` of `[H, W]` or `[N, H, W]` -> `[N, 2, H, W]`."""
    a = affine[:, :, :, None, None]
    x, y = (v[None] if v.ndim == 2 else v for v in (x, y))
    return a[:, :, 0] * x[:, None] + a[:, :, 1] * y[:, None] + a[:, :, 2]


def grid(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y of every pixel's middle, `[H, W]` each; the first pixel's is 0.5."""
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=torch.float32) + 0.5,
        torch.arange(width, device=like.device, dtype=torch.float32) + 0.5,
        indexing="ij",
    )
    return x, y


def look_up(picture: Tensor, places: Tensor, padding: str = "border", mode: str = "bilinear") -> Tensor:
    """`picture [N, c, H, W]` at `places [N, 2, h, w]` (x, y in its pixels)."""
    H, W = picture.shape[-2:]
    scaled = torch.stack([places[:, 0] * (2 / W) - 1, places[:, 1] * (2 / H) - 1], -1)
    return F.grid_sample(picture, scaled, mode=mode, padding_mode=padding, align_corners=False)


def oval(places: Tensor) -> Tensor:
    """How much `places [N, 2, H, W]` of the square belong to the face, `[N, 1, H, W]`: 1 inside, 0 outside, soft."""
    x, y, wide, high = _OVAL
    radius = (((places[:, :1] - x) / wide).square() + ((places[:, 1:] - y) / high).square()).sqrt()
    return ((1.0 - radius) / 0.3).clamp(0, 1)


def features(expression: Tensor) -> Tensor:
    """What the flow is linear in: `[..., 8]` -> `[..., 16]`."""
    bounded = expression.clamp(-4, 4)
    return torch.cat([bounded, bounded.square() * bounded.sign() / 4], -1)


def _convolution(channels_in: int, channels_out: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    """Begins with the gain that a ReLU behind it takes away."""
    layer = nn.Conv2d(channels_in, channels_out, side, stride, padding=0 if stride > 1 else side // 2)
    nn.init.kaiming_normal_(layer.weight)
    return layer


class _Block(nn.Module):
    """Two 3x3 convolutions around a skip; in between, channels are scaled and shifted by what the face is to do."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _convolution(channels, channels), _convolution(channels, channels)
        self.told = nn.Linear(told, 2 * channels)
        with torch.no_grad():
            self.conv2.weight *= 0.3

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(told)[:, :, None, None].chunk(2, 1)
        return x + self.conv2(F.relu(self.conv1(x) * (1 + scale) + shift))


class _Reader(nn.Module):
    """What a face does in its square, a pixel to a unit: `[N, 3, 96, 96]` in [-1, 1] -> `[N, 8]`."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 3 * width, 4 * width)
        self.convs = nn.ModuleList(_convolution(a, b, 4, 2) for a, b in pairwise(widths))
        self.out = nn.Linear(4 * width * (SQUARE // 16 - 1) ** 2, EXPRESSIONS)
        with torch.no_grad():
            self.out.weight *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) / (x.std((1, 2, 3), keepdim=True) + 0.1)
        for conv in self.convs:
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, 2, 1))  # type: ignore[arg-type]
        return self.out(F.avg_pool2d(x, 2, 1).flatten(1))


class _PatchPainter(nn.Module):
    """Draws in one part of the square.

    Args:
        widths: Channels of the convolutions at 1, 2, 4 and 8 units to a pixel.
        patch: Left, top, width and height in units; multiples of 8 in size.
    """

    def __init__(self, widths: tuple[int, int, int, int], patch: tuple[int, int, int, int]) -> None:
        super().__init__()
        finest, fine, middle, coarse = widths
        told = 2 * FEATURES + LEANING
        self.patch = patch
        self.fine_in, self.fine_block = _convolution(4 * 8, fine), _Block(fine, told)
        self.middle_in, self.middle_block = _convolution(fine, middle, 2, 2), _Block(middle, told)
        self.coarse_in, self.coarse_block1 = _convolution(middle, coarse, 2, 2), _Block(coarse, told)
        self.coarse_block2 = _Block(coarse, told)
        self.to_middle, self.middle_join = nn.ConvTranspose2d(coarse, middle, 2, 2), _convolution(2 * middle, middle, 1)
        self.middle_out = _Block(middle, told)
        self.to_fine, self.fine_join = nn.ConvTranspose2d(middle, fine, 2, 2), _convolution(2 * fine, fine, 1)
        self.fine_out = _Block(fine, told)
        self.out = nn.Conv2d(fine, 2 + 4 * 4, 3, padding=1)
        self.finest_in, self.to_finest = _convolution(4 * 8, finest), nn.ConvTranspose2d(fine, finest, 2, 2)
        self.finest_join, self.finest_block = _convolution(2 * finest, finest, 1), _Block(finest, told)
        self.finest_out = nn.Conv2d(finest, 2 + 4 * 4, 3, padding=1)
        with torch.no_grad():
            self.finest_out.weight *= 0.02
            self.finest_out.bias.zero_()  # type: ignore[union-attr]
            self.out.weight *= 0.05
            self.out.bias.zero_()  # type: ignore[union-attr]
            self.out.bias[14:] -= 3.0  # type: ignore[index]

    def forward(self, square: Tensor, moved: Tensor, flow: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """What is added in squares: flow `[N, 2, 192, 192]`; paint `[N, 4, 192, 192]` as of `FacePainter`.

        Args:
            square, moved: The face in the given picture and after the flow, `[N, 3, 192, 192]`.
            flow: `[N, 2, 192, 192]` in units.
            told: `[N, c]`.
        """
        dtype = self.out.weight.dtype
        sharp = self._part(torch.cat([square, moved, flow / 4], 1))
        x = F.pixel_unshuffle(F.avg_pool2d(sharp, DETAIL), 2).to(dtype).contiguous(memory_format=torch.channels_last)
        fine = self.fine_block(F.relu(self.fine_in(x)), told)
        middle = self.middle_block(F.relu(self.middle_in(fine)), told)
        h = self.coarse_block2(self.coarse_block1(F.relu(self.coarse_in(middle)), told), told)
        h = self.middle_out(F.relu(self.middle_join(torch.cat([self.to_middle(h), middle], 1))), told)
        h = self.fine_out(F.relu(self.fine_join(torch.cat([self.to_fine(h), fine], 1))), told)
        out = self.out(h).float()
        x = F.pixel_unshuffle(sharp, 2).to(dtype).contiguous(memory_format=torch.channels_last)
        finest = F.relu(self.finest_in(x))
        finest = self.finest_block(F.relu(self.finest_join(torch.cat([self.to_finest(h), finest], 1))), told)
        mended = self.finest_out(finest).float()
        finer = _doubled(_doubled(out[:, :2] * 4) + mended[:, :2])
        paint = _doubled(F.pixel_shuffle(out[:, 2:], 2)) + F.pixel_shuffle(mended[:, 2:], 2)
        window = self._window(square.device)
        opacity = paint[:, 3:].sigmoid() * window
        colours = (self._part(moved) + paint[:, :3]) * opacity
        left, top, width, height = self.patch
        around = [side * DETAIL for side in (left, SQUARE - width - left, top, SQUARE - height - top)]
        return F.pad(finer * window, around), F.pad(torch.cat([colours, opacity], 1), around)

    def _part(self, x: Tensor) -> Tensor:
        """Of squares `[..., 192, 192]`."""
        left, top, width, height = (side * DETAIL for side in self.patch)
        return x[..., top : top + height, left : left + width]

    def _window(self, device: torch.device) -> Tensor:
        """1 in the middle of the patch, falling to 0 over its outermost 8 units: `[height, width]` in pixels."""

        def ramp(length: int) -> Tensor:
            rising = ((torch.arange(length * DETAIL, device=device) + 0.5) / (8 * DETAIL)).clamp(max=1)
            return torch.minimum(rising, rising.flip(0))

        return ramp(self.patch[3])[:, None] * ramp(self.patch[2])


class FacePainter(nn.Module):
    """See the module.

    Args:
        widths: Channels of the convolutions around the mouth at 1, 2, 4 and 8 units to a pixel.
        eye_widths: The same around the eyes.
    """

    def __init__(self, widths: tuple[int, int, int, int], eye_widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(FEATURES + LEANING, 2, SQUARE, SQUARE), requires_grad=False)
        self.reader = _Reader()
        self.mouth = _PatchPainter(widths, MOUTH_PATCH)
        self.eyes = _PatchPainter(eye_widths, EYE_PATCH)

    def squares(self, reference: Tensor, frames: Tensor, scale: float = 1.0) -> Tensor:
        """Faces of pictures `[N, 3, H, W]` in their squares, `[N, 3, 192, 192]`, by `face_frames [N, 2, 3]` of points
        in pixels that are `scale` of the pictures' pixels wide."""
        side = SQUARE * DETAIL
        x, y = (v / DETAIL for v in grid(side, side, reference))
        return look_up(reference, transform(inverse(frames), x, y) * scale)

    def read(self, squares: Tensor) -> Tensor:
        """What faces do in their squares, as far as it is to be undone: `[N, 3, 192, 192]` -> `[N, 8]`."""
        return self.at_rest(self.reader(F.avg_pool2d(squares, DETAIL).to(self.reader.out.weight.dtype)).float())

    def at_rest(self, seen: Tensor) -> Tensor:
        """Of what the reader saw, `[N, 8]`, that which is to be undone."""
        return seen.masked_fill(torch.tensor(_KEPT, device=seen.device), 0.0)

    def basis_flow(self, expression: Tensor, seen: Tensor, leaning: Tensor) -> Tensor:
        """The skin's motion back from `expression [N, 8]` to `seen [N, 8]`: `[N, 2, 96, 96]`, units of the square."""
        known = torch.cat([features(expression) - features(seen), leaning], 1)
        return torch.einsum("nk,kcyx->ncyx", known, self.basis.float())

    def forward(self, square: Tensor, expression: Tensor, seen: Tensor, leaning: Tensor) -> tuple[Tensor, Tensor]:
        """Draws faces.

        Args:
            square: The face in the given picture, `[N, 3, 192, 192]` in [-1, 1].
            expression: What it is to do, `[N, 8]`.
            seen: What it does in the given picture, `[N, 8]`.
            leaning: Flow beside the head's affine motion at `LEANING_AT`, `[N, 18]` in units of the square.

        Returns:
            Flow from the wanted to the given face `[N, 2, 192, 192]` in units of the square; and paint
            `[N, 4, 192, 192]`, colours multiplied by their opacity, then opacity.
        """
        flow = _doubled(self.basis_flow(expression, seen, leaning))
        x, y = grid(SQUARE * DETAIL, SQUARE * DETAIL, square)
        moved = look_up(square, torch.stack([x, y]) + flow * DETAIL)
        told = torch.cat([features(expression), features(seen), leaning / 2], 1).to(self.mouth.out.weight.dtype)
        at_mouth, paint = self.mouth(square, moved, flow, told)
        blinking = (expression[:, BLINK].abs() / _LIDS_MOVE).clamp(max=1)[:, None, None, None]
        if not torch.is_grad_enabled() and not blinking.any():  # most frames of a film
            return flow + at_mouth, paint
        at_eyes, over = self.eyes(square, moved, flow, told)
        over = over * blinking  # open eyes stay as sharp as they are
        return flow + at_mouth + at_eyes * blinking, over + paint * (1 - over[:, 3:])


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def leaning(flow: Tensor, motion: Tensor, frames: Tensor, cell: int) -> Tensor:
    """What the coarse flow says beside the head's affine motion, at nine places of the face.

    Args:
        flow: `[N, 2, h, w]` in pixels, to the reference.
        motion: `[N, 2, 3]`, of `head_motion`.
        frames: `[N, 2, 3]`, of `face_frames`.
        cell: Pixels to a cell's side.

    Returns:
        `[N, 18]` in units of the square.
    """
    at = torch.tensor(LEANING_AT, device=flow.device)
    in_reference = transform(inverse(frames), at[None].expand(3, 3), at[:, None].expand(3, 3))
    here = transform(inverse(motion), in_reference[:, 0], in_reference[:, 1])
    beside = here + look_up(flow, here / cell) - in_reference
    return turn(frames, beside).flatten(1)


def head_motion(flow: Tensor, weight: Tensor, cell: int, stiffness: float = 2.0) -> Tensor:
    """The affine motion that fits the flow of a face's cells best.

    Args:
        flow: `[N, 2, h, w]` in pixels, to the reference.
        weight: How much each cell counts, `[N, h, w]`.
        cell: Pixels to a cell's side.
        stiffness: In cells: with few cells the motion becomes a shift.

    Returns:
        `[N, 2, 3]`: from pixels of the frame to pixels of the reference.
    """
    rows, columns = flow.shape[-2:]
    x, y = (v * cell for v in grid(rows, columns, flow))
    total = weight.sum((1, 2)).clamp_min(1e-6)
    middle = torch.stack([(weight * v).sum((1, 2)) / total for v in (x, y)], -1)  # [N, 2]
    mean = (weight[:, None] * flow).sum((2, 3)) / total[:, None]  # [N, 2]
    away = torch.stack([x - middle[:, :1, None], y - middle[:, 1:, None]], 1)  # [N, 2, h, w]
    pull = stiffness * cell**2
    xx, yy, xy = ((weight * away[:, i] * away[:, j]).sum((1, 2)) for i, j in ((0, 0), (1, 1), (0, 1)))
    xx, yy = xx + pull, yy + pull
    counted = weight[:, None] * (flow - mean[:, :, None, None])  # [N, 2, h, w]
    mixed_x, mixed_y = ((counted * away[:, k, None]).sum((2, 3)) for k in (0, 1))  # [N, 2] each
    scale = (xx * yy - xy * xy).reciprocal()[:, None]
    slope = torch.stack(
        [mixed_x * yy[:, None] - mixed_y * xy[:, None], mixed_y * xx[:, None] - mixed_x * xy[:, None]], -1
    )
    slope = slope * scale[..., None] + torch.eye(2, device=flow.device)  # [N, 2, 2]
    shift = middle + mean - _turned(slope, middle)
    return torch.cat([slope, shift[..., None]], -1)
