"""Motion of people who were filmed calmer or livelier.

How much a track's performer moves is known (the stage's `Style.liveliness`), but a network that knows its few thousand
pictures by heart would never read it: so heads are made to sway less or more, and what is told is what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from talkies.domain.liveliness import CALMEST, LIVELIEST
from talkies.models.motion_latents import FLOW_CHANNELS, FRAMES, MOTION_CHANNELS, PLACES, compress_flow, expand_flow
from talkies.training.panels import Panel, liveliness_of

_GESTURES_KEEP = 1.3  # a nod is not told as calm or lively: it is made smaller or larger by no more than this
_MOUTH_SHARE = 3.0  # a cell of which a third is mouth moves with the lips


def with_liveliness(panel: Panel, spread: Sequence[float], knee: float | None, rng: np.random.Generator) -> Panel:
    """The same performer, whose head sways less or more than it did.

    Args:
        panel: Somebody.
        spread: By which the codec's latents are normalised, `[z]`.
        knee: Beyond which flow is compressed (`compress_flow`).
        rng: How lively.
    """
    own = liveliness_of(panel.about)
    wanted = float(np.exp(rng.uniform(np.log(CALMEST), np.log(LIVELIEST))))
    least, most = (1 / _GESTURES_KEEP, _GESTURES_KEEP) if panel.gesture.any() else (0.4, 2.5)
    factor = float(np.clip(wanted / own, least, most))
    scale = torch.tensor(spread[:FLOW_CHANNELS]).view(-1, 1, 1)
    places = panel.groups[:, MOTION_CHANNELS - PLACES].float().amax(0) * spread[MOTION_CHANNELS - PLACES]

    def swayed(groups: Tensor) -> Tensor:
        flow = expand_flow(groups[:, :FLOW_CHANNELS].float() * scale, knee)
        flow = compress_flow(flow + (factor - 1) * head_sway(flow, panel.mask, places), knee) / scale
        return torch.cat([flow.to(groups.dtype), groups[:, FLOW_CHANNELS:]], 1)

    style = {**panel.about["style"], "liveliness": factor * own}
    return replace(
        panel, groups=swayed(panel.groups), singles=swayed(panel.singles), about={**panel.about, "style": style}
    )


def head_sway(flow: Tensor, mask: Tensor, mouths: Tensor) -> Tensor:
    """Flow as it were if lips kept still: at mouths what an affine motion of everything else says, `[K, 8, h, w]`.

    Args:
        flow: `[K, 8, h, w]`.
        mask: The performer, `[h, w]`.
        mouths: How much of each cell is mouth, `[h, w]`.
    """
    K, _, h, w = flow.shape
    lips = (_MOUTH_SHARE * mouths).clamp(0, 1)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    terms = torch.stack([torch.ones(h, w), rows, columns], -1).flatten(0, 1)  # [hw, 3]
    # around the mouth, not the shoulders: heads turn about necks
    near = torch.exp(-2 * ((rows - _centre(lips, rows)) ** 2 + (columns - _centre(lips, columns)) ** 2))
    weight = (mask * (1 - lips) * near).flatten()[:, None]
    values = flow.reshape(K * FRAMES * 2, h * w).T  # [hw, 8K]
    normal = terms.T @ (weight * terms) + 1e-4 * torch.eye(3)
    affine = (terms @ torch.linalg.solve(normal, terms.T @ (weight * values))).T.reshape(flow.shape)
    return torch.lerp(flow, affine, lips)


def _centre(weight: Tensor, along: Tensor) -> Tensor:
    return (weight * along).sum() / weight.sum().clamp(min=1e-6)
