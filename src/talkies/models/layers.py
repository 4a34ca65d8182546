"""A picture as what moves in it and what stays: people, before a ground that was partly hidden by them.

Moved as one sheet, a picture bends around everybody who moves: straight lines behind a head move with it. In two layers
people are cut out by a matte, moved, and laid over the ground. Colours at their outline are mixed of both (matting
equation, Porter and Duff 1984); kept multiplied by the matte, what is not moved is the picture again, whatever stands
behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.models.optical_flow import warp_sharply, with_half_pixels

#: Mattes are widened by this share of the longer side: a seam of ground that moves with somebody is not seen, hair that
#: stays behind is.
_SEAM = 1 / 400
#: Of the ground as much is known as the matte is below this.
_KNOWN_BELOW = 0.1


class Layers(NamedTuple):
    """Of pictures `[N, 3, H, W]`.

    Attributes:
        moving: What moves, `with_half_pixels`: `[N, 4, 2H, 2W]`, colours times matte and the matte; or everything,
            `[N, 3, 2H, 2W]`.
        ground: What stays, `[N, 3, H, W]`, or None.
    """

    moving: Tensor
    ground: Tensor | None

    def moved(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """After `flow [N, K, 2, H, W]` in pixels.

        Returns:
            Pictures `[N, K, 3, H, W]`, where nothing moves the given ones to rounding; and how much of every pixel may
            have moved, `[N, K, 1, H, W]`.
        """
        moved = warp_sharply(self.moving, flow)
        if self.ground is None:
            return moved, torch.ones_like(moved[:, :, :1])
        share = moved[:, :, 3:].clamp(0, 1)
        return moved[:, :, :3] + (1 - share) * self.ground[:, None], share


def in_layers(pictures: Tensor, matte: Tensor | None) -> Layers:
    """Cuts pictures `[N, 3, H, W]` in two.

    Args:
        pictures: float32.
        matte: How much of every pixel moves, `[N, 1, H, W]` in [0, 1]; None: all of all.
    """
    if matte is None:
        return Layers(with_half_pixels(pictures), None)
    reach = max(1, round(max(matte.shape[-2:]) * _SEAM))
    matte = F.max_pool2d(matte, 2 * reach + 1, 1, reach)
    hidden = filled(pictures, 1 - (matte / _KNOWN_BELOW).clamp(max=1))
    people = torch.minimum((pictures - (1 - matte) * hidden).maximum(-matte), matte)  # colours lie in [-1, 1]
    seen = (1 - 2 * matte).clamp_min(0)  # the less is hidden, the more of what people's colours cannot be is ground
    ground = seen * (pictures - people) / (1 - matte).clamp_min(0.5) + (1 - seen) * hidden
    people = pictures - (1 - matte) * ground
    return Layers(with_half_pixels(torch.cat([people, matte], 1)), ground)


def filled(pictures: Tensor, known: Tensor) -> Tensor:
    """What is not known from what is around it, the farther the coarser (push-pull, Gortler et al. 1996).

    Args:
        pictures: `[N, C, H, W]`.
        known: How much of each pixel counts, `[N, 1, H, W]` in [0, 1]; where it is 1 the picture stays as it is.
    """
    levels, colours, weight = [], pictures * known, known
    while max(colours.shape[-2:]) > 1:
        levels.append((colours, weight))
        to_even = (0, colours.shape[-1] % 2, 0, colours.shape[-2] % 2)
        colours, weight = (4 * F.avg_pool2d(F.pad(part, to_even), 2) for part in (colours, weight))
        sure = weight.clamp_min(1)  # one known pixel of four is enough: what is nearest counts
        colours, weight = colours / sure, weight / sure
    shown = colours / weight.clamp_min(1e-6)
    for colours, weight in reversed(levels):
        H, W = colours.shape[-2:]
        shown = F.interpolate(shown, scale_factor=2, mode="bilinear", align_corners=False)[..., :H, :W]
        shown = colours + (1 - weight) * shown
    return shown
