"""The layout of motion latents: which channel says what, and how frames become channels and channels frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.domain.expression import AT_MOUTH, EXPRESSION

FRAMES = 4  # video frames to a latent frame, as in Wan's autoencoder
CELL = 16  # pixels to a latent cell
FLOW_CHANNELS = 2 * FRAMES  # the first latent channels: each frame's mean flow in the cell
FLOW_UNIT = 8.0  # pixels
PLACES = 2  # how much of a cell is mouth, and how much is eyes
EXPRESSIONS = len(EXPRESSION)
FACE_CHANNELS = EXPRESSIONS * FRAMES + PLACES  # then: each frame's expression, and where the face is
MOUTHS = tuple(0 if name in AT_MOUTH else 1 for name in EXPRESSION)  # which place each expression is at
MOTION_CHANNELS = FLOW_CHANNELS + FACE_CHANNELS


def coarse_flow(z: Tensor) -> Tensor:
    """What the first latent channels say by themselves: `z [N, c, h, w]` -> flow in pixels `[N, 4, 2, H, W]`.

    Latents are means over cells, and so is this flow, nearly: points between which a line is drawn would have to lie
    further out than the means do, or motion is lost wherever it ends, as at the outline of a head.
    """
    means = z[:, :FLOW_CHANNELS].float() * FLOW_UNIT
    points = means
    for _ in range(2):
        points = points + means - _mean_between(points)
    return enlarge(points, CELL).unflatten(1, (FRAMES, 2))


def _mean_between(points: Tensor) -> Tensor:
    """Means over cells of what is drawn linearly between their middles, `[N, c, h, w]`: three quarters of the middle
    and an eighth of either neighbour."""
    tall = F.pad(points, (0, 0, 1, 1), mode="replicate")
    points = 0.75 * points + 0.125 * (tall[:, :, :-2] + tall[:, :, 2:])
    wide = F.pad(points, (1, 1, 0, 0), mode="replicate")
    return 0.75 * points + 0.125 * (wide[..., :-2] + wide[..., 2:])


def compress_flow(z: Tensor, knee: float | None) -> Tensor:
    """Latents `[B, z, ...]` whose flow is as it was well below `knee` pixels and grows with its logarithm beyond,
    `knee asinh(flow / knee)`: a head that leans moves ten times as far as one that talks, and both are to be learnt.
    None for flow as it is."""
    return _with_flow(z, lambda flow: knee * (flow / knee).asinh()) if knee else z


def expand_flow(z: Tensor, knee: float | None) -> Tensor:
    """The inverse of `compress_flow`."""
    return _with_flow(z, lambda flow: knee * (flow / knee).sinh()) if knee else z


def _with_flow(z: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    flow, rest = z[:, :FLOW_CHANNELS], z[:, FLOW_CHANNELS:]
    return torch.cat([(change(flow.float() * FLOW_UNIT) / FLOW_UNIT).to(z.dtype), rest], 1)


def shrink(x: Tensor, size: float) -> Tensor:
    """Takes `size` off the size of every value; smaller ones become zero (coring, soft thresholding)."""
    return F.softshrink(x, size) if size else x


def smooth_flow(z: Tensor, frames: int) -> Tensor:
    """Flow channels `[B, 8, T, h, w]`, averaged over time with triangular weights over an odd number of video frames;
    at the ends over fewer. The first latent frame stands for one video frame."""
    if frames <= 1:
        return z
    B, _, T, h, w = z.shape
    film = (
        z.unflatten(1, (FRAMES, 2)).permute(0, 2, 4, 5, 3, 1).reshape(B * 2 * h * w, 1, T * FRAMES)[..., FRAMES - 1 :]
    )
    weights = torch.bartlett_window(frames + 2, periodic=False, device=z.device, dtype=z.dtype)[1:-1].view(1, 1, -1)
    sums = F.conv1d(film, weights, padding=frames // 2)
    film = sums / F.conv1d(torch.ones_like(film[:1]), weights, padding=frames // 2)
    film = torch.cat([film[..., :1].expand(-1, -1, FRAMES - 1), film], -1)
    return film.view(B, 2, h, w, T, FRAMES).permute(0, 5, 1, 4, 2, 3).flatten(1, 2)


def join_faces(faces: Tensor) -> Tensor:
    """Four frames' faces as latent channels: `[N, 4, 10, h, w]` -> `[N, 34, h, w]`; where they are is averaged."""
    return torch.cat([faces[:, :, :EXPRESSIONS].flatten(1, 2), faces[:, :, EXPRESSIONS:].mean(1)], 1)


def split_faces(channels: Tensor) -> Tensor:
    """The inverse of `join_faces`, place repeated: `[N, 34, h, w]` -> `[N, 4, 10, h, w]`."""
    expression = channels[:, :-PLACES].unflatten(1, (FRAMES, EXPRESSIONS))
    return torch.cat([expression, channels[:, None, -PLACES:].expand(-1, FRAMES, -1, -1, -1)], 2)


def in_groups(film: Tensor) -> Tensor:
    """`[B, c, 4n+1, H, W]` -> `[B, n+1, 4, c, H, W]`: the first frame four times, then four by four."""
    first = film[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    return torch.cat([first, film[:, :, 1:]], 2).unflatten(2, (-1, FRAMES)).permute(0, 2, 3, 1, 4, 5)


def enlarge(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def liveliness_map(liveliness: Tensor, person_masks: Tensor | None, cells: tuple[int, int]) -> Tensor:
    """How lively everybody is (`talkies.domain.liveliness`) as the network is told it, where they are: `[B, 1, h, w]`.

    Args:
        liveliness: `[B, P]`, 1 on average.
        person_masks: `[B, P + 1, h, w]`; one person alone is everywhere, with or without.
        cells: `(h, w)`.
    """
    said = liveliness - 1
    if said.shape[1] == 1 or person_masks is None:
        return said.mean(1).view(-1, 1, 1, 1).expand(-1, 1, *cells)
    masks = person_masks[:, :-1].float()
    shares = masks / masks.sum(1, keepdim=True).clamp(min=1)
    return (shares * said[:, :, None, None]).sum(1, keepdim=True)
