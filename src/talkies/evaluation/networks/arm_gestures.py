"""Gestures of arms from small pictures of a person: coarse motion and what has changed, then convolutions over time.

What it is given says little of who somebody is: how alike pixels are to the colour of the own face, how far they have
changed since the first frames and since the frame before, and where they move, averaged over a grid of 16 x 16 cells.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkies.evaluation.body_regions import DROP, SIDE, SIZE
from talkies.evaluation.networks.blocks import Conv, load_network

WEIGHTS = Path(__file__).with_name("arm_gestures.safetensors")
#: What it knows, as the stage numbers and names them (`talkies.stage.gestures.GESTURES`); column 0 is none of them.
NUMBERS: dict[str, int] = {"wave": 1, "point": 4, "raise_hand": 5, "shrug": 6, "thumbs_up": 9, "cross_arms": 10}
NAMES = tuple(NUMBERS)

#: Cells along a side, and pixels of one.
CELLS = 16
_CELL = SIZE // CELLS
#: Frames at the beginning that are taken for rest.
REST = 3
#: Of the colours of skin: how far they spread (log-ratios of red and green, green and blue, and a third of brightness).
_SKIN_SPREAD = 0.12
#: Grey values squared below which texture says nothing of motion.
_FLAT = 30.0
#: Pixels that the sums of motion reach over.
_WINDOW = 7
#: Channels: seen, skin, skin since rest, change since rest, change since the frame before, motion across and down.
CHANNELS = 7
ACROSS = 5


class ArmGestures(nn.Module):
    """The classifier."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.look = nn.Sequential(Conv(CHANNELS, 16), Conv(16, 24, stride=2), Conv(24, 32, stride=2))  # [*, 32, 4, 4]
        self.gather = nn.Linear(32 * (CELLS // 4) ** 2, width)
        self.drop = nn.Dropout(0.2)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation) for dilation in (1, 2, 4, 8)
        )
        self.outlet = nn.Conv1d(width, 1 + len(NAMES), 1)

    def forward(self, cells: Tensor) -> Tensor:
        """`body_motion [B, F, 7, 16, 16]` -> logits `[B, F, 7]`."""
        return self.over_time(self.of_frames(cells.flatten(0, 1)).unflatten(0, cells.shape[:2]))

    def of_frames(self, cells: Tensor) -> Tensor:
        """What single frames look like: `[N, 7, 16, 16]` -> `[N, 48]`."""
        return self.drop(torch.relu(self.gather(self.look(cells).flatten(1))))

    def over_time(self, frames: Tensor) -> Tensor:
        """`[B, F, 48]` -> logits `[B, F, 7]`."""
        x = frames.transpose(1, 2)
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return self.outlet(x).transpose(1, 2)


def body_motion(bodies: Tensor) -> Tensor:
    """What the classifier looks at.

    Args:
        bodies: `[B, F, 48, 48, 4]` uint8, see `body_regions.cut_bodies`; the first three frames are taken for rest.

    Returns:
        `[B, F, 7, 16, 16]` float32, each about in 0..1 or -1..1.
    """
    batch, frames = bodies.shape[:2]
    picture = bodies.flatten(0, 1).permute(0, 3, 1, 2).float()  # [B F, 4, S, S]
    seen = picture[:, 3:] / 255
    colours = picture[:, :3] / 255
    skin = _skin(colours.unflatten(0, (batch, frames))).flatten(0, 1) * seen  # [B F, 1, S, S]
    since_rest = (colours - _rest(colours, batch)).abs().mean(1, keepdim=True) * seen
    before = torch.cat([colours.unflatten(0, (batch, frames))[:, :1], colours.unflatten(0, (batch, frames))[:, :-1]], 1)
    before = before.flatten(0, 1)
    sudden = (colours - before).abs().mean(1, keepdim=True) * seen
    moved = _motion(colours.mean(1, keepdim=True) * 255, before.mean(1, keepdim=True) * 255) * seen
    cells = F.avg_pool2d(
        torch.cat([seen, skin, (skin - _rest(skin, batch)), 4 * since_rest, 8 * sudden, moved], 1), _CELL
    )
    return cells.unflatten(0, (batch, frames))


def _rest(values: Tensor, batch: int) -> Tensor:
    """The mean of a clip's first frames for each of its frames: `[B F, C, S, S]` both."""
    clips = values.unflatten(0, (batch, -1))
    return clips[:, :REST].mean(1, keepdim=True).expand_as(clips).flatten(0, 1)


def _skin(colours: Tensor) -> Tensor:
    """How alike pixels are to the middle of the face, 0..1: `[B, F, 3, S, S]` -> `[B, F, 1, S, S]`."""
    red, green, blue = (colours + 0.02).log().unbind(2)
    tones = torch.stack([red - green, green - blue, (red + green + blue) / 9], 2)
    centre, reach = SIZE / 2 - DROP / SIDE * SIZE, 0.6 / SIDE * SIZE
    rows = slice(round(centre - reach), round(centre + reach))
    columns = slice(round(SIZE / 2 - reach), round(SIZE / 2 + reach))
    face = tones[:, :REST, :, rows, columns].flatten(3).transpose(1, 2).flatten(2).median(2).values  # [B, 3]
    apart = (tones - face[:, None, :, None, None]).square().sum(2, keepdim=True)
    return torch.exp(-apart / (2 * _SKIN_SPREAD**2))


def _motion(now: Tensor, before: Tensor) -> Tensor:
    """Coarse optical flow by least squares over windows (Lucas and Kanade 1981): `[N, 1, S, S]` grey, 0..255 ->
    `[N, 2, S, S]`, pixels per frame over 2, across and down, within -1..1."""
    mean = (now + before) / 2
    across = F.pad(mean[..., 2:] - mean[..., :-2], (1, 1, 0, 0)) / 2
    down = F.pad(mean[..., 2:, :] - mean[..., :-2, :], (0, 0, 1, 1)) / 2
    late = now - before
    products = torch.cat([across * across, across * down, down * down, across * late, down * late], 1)
    xx, xy, yy, xt, yt = F.avg_pool2d(products, _WINDOW, 1, _WINDOW // 2).split(1, 1)
    xx, yy = xx + _FLAT, yy + _FLAT
    area = xx * yy - xy * xy
    flow = torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], 1) / area
    return (flow / 2).clamp(-1, 1)


def missing() -> str:
    """Why it cannot be asked, and how to mend that; "" where its weights are there."""
    if WEIGHTS.is_file():
        return ""
    render = "talkies stage render --set train-arms,test-arms --out runs/out/sets"
    return f"not fitted yet; {render} && talkies evaluate fit-arms runs/recipes/evaluation-arms.yaml --out {WEIGHTS}"


@lru_cache(maxsize=1)
def load_arm_gestures() -> ArmGestures:
    """The network with its weights, in float32 on the CPU, ready for inference."""
    network = load_network(ArmGestures(), WEIGHTS)
    assert isinstance(network, ArmGestures)  # noqa: S101
    return network
