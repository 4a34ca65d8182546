"""Critics of mouths and eyes: tell painted ones from filmed ones, so that teeth are drawn and not the mean of all.

A painter that is only told how far its pixels are off blurs whatever it cannot know to the pixel. A critic looks at
mouths, or eyes, of one size and asks whether they could have been filmed (Goodfellow et al. 2014; patches as in
pix2pix, Isola et al. 2017; hinge loss and spectral normalisation, Miyato et al. 2018; compared features, Wang et al.
2018).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from talkies.models.face_painter import look_up
from talkies.training.composites import EYE_MARGIN

HEIGHT, WIDTH = 64, 80  # pixels of a mouth as the critic sees it
_MOUTH = (0.62, 0.50)  # half the width and height of what is seen, in distances from between the eyes to the mouth
_EYE = (0.42, 0.34)


def mouths(frames: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
    """Mouths at the size at which the critic knows them.

    Args:
        frames: `[N, 4, 3, H, W]`.
        boxes: Around the mouths, `[N, 4, 4]` (x0, y0, x1, y1) in pixels.
        points: Landmarks of the reference's face, `[N, 1, 5, 2]` in pixels: they tell the size.

    Returns:
        `[4 N, 3, 64, 80]`.
    """
    return _views(frames, (boxes[..., :2] + boxes[..., 2:]) / 2, points, _MOUTH)


def eyes(frames: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
    """Left and right eyes likewise, `[8 N, 3, 64, 80]`; `boxes` are around both, as of `Composite`."""
    reach = EYE_MARGIN * _length(points)[:, None]
    level = (boxes[..., 1] + boxes[..., 3]) / 2
    middles = [torch.stack([x, level], -1) for x in (boxes[..., 0] + reach, boxes[..., 2] - reach)]
    return torch.cat([_views(frames, middle, points, _EYE) for middle in middles])


def _length(points: Tensor) -> Tensor:
    """From between the eyes to the mouth, `[N]`, of `points [N, 1, 5, 2]`."""
    return (points[:, 0, 3:5].mean(1) - points[:, 0, :2].mean(1)).norm(dim=-1)


def _views(frames: Tensor, middle: Tensor, points: Tensor, reach: tuple[float, float]) -> Tensor:
    """Around `middle [N, 4, 2]`, as far as `reach` in lengths of the face."""
    length = _length(points)[:, None, None, None]
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=frames.device) for n in (HEIGHT, WIDTH)), indexing="ij")
    places = torch.stack(
        [middle[..., 0, None, None] + x * reach[0] * length, middle[..., 1, None, None] + y * reach[1] * length], 2
    )  # [N, 4, 2, 64, 80]
    return look_up(frames.flatten(0, 1), places.flatten(0, 1))


class Critic(nn.Module):
    """`[N, 3, 64, 80]` -> opinions of patches `[N, 1, 8, 10]`, and the features on the way."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(widths))
        self.out = spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See the class."""
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            features.append(x)
        return self.out(x), features


def critic_loss(critic: Critic, filmed: Tensor, painted: Tensor) -> Tensor:
    """Hinge loss of the critic itself."""
    opinions, _ = critic(torch.cat([filmed, painted.detach()]))
    real, made = opinions.float().chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def painter_loss(critic: Critic, filmed: Tensor, painted: Tensor, features: float = 2.0) -> Tensor:
    """What the critic holds against what is painted, and `features` times how far its features are off."""
    opinion, seen = critic(painted)
    with torch.no_grad():
        _, wanted = critic(filmed)
    apart = sum(
        ((a.float() - b.float()).abs().mean() for a, b in zip(seen, wanted, strict=True)),
        torch.zeros((), device=opinion.device),
    )
    return -opinion.float().mean() + features * apart / len(seen)
