"""Moods laid over people who were filmed in another one.

What a track's people feel they always felt: a network knows a few thousand pictures by heart, and with them every
mood, and never reads of it. In latents a mood is a sum (`talkies.domain.expression` times the places where it shows),
so anybody may feel anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from talkies.domain.clip import FPS
from talkies.domain.moods import MOODS, ONSET, WHILE_SPEAKING, Mood, mood_expression
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES, MOTION_CHANNELS, MOUTHS, PLACES
from talkies.training.panels import Panel, mood_onset

_STRENGTH = 0.75  # mean strength of a mood on the stage
_LATEST = 0.7  # seconds after which a mood has begun to appear, at the latest


def with_mood(panel: Panel, mood: Mood, spread: Sequence[float], rng: np.random.Generator) -> Panel:
    """The same performer, who comes to feel something else after the picture.

    Args:
        panel: Somebody; who feels something in the picture already goes on feeling it.
        mood: What.
        spread: By which the codec's latents are normalised, `[z]`.
        rng: How strong it is, and when it begins.
    """
    own, begun = panel.about["style"]["mood"], mood_onset(panel.about)
    if begun < 0 and own != MOODS[0]:
        return panel
    onset = float(rng.uniform(0, _LATEST))
    share = WHILE_SPEAKING if panel.about["words"]["role"] == "speaker" else 1.0
    strength = _STRENGTH * float(rng.uniform(0.8, 1.4))
    curves = strength * _appearing(onset, len(panel.groups)) * _shown(mood, share)
    if begun >= 0:  # of what appears in the film nothing is left
        curves = curves - _STRENGTH * _appearing(begun, len(panel.groups)) * _shown(own, share)
    return replace(
        panel,
        groups=_added(panel.groups, curves, panel.groups.new_tensor(spread, dtype=torch.float32)),
        about={
            **panel.about,
            "style": {**panel.about["style"], "mood": mood, "mood_onset": onset},
            "words": {**panel.about["words"], "mood": mood},
        },
    )


def _shown(mood: Mood, share: float) -> Tensor:
    """A mood's expression `[8]`, of which a mouth shows a share."""
    felt = torch.tensor(mood_expression(mood))
    return torch.where(torch.tensor(MOUTHS) == 0, share * felt, felt)


def _appearing(onset: float, groups: int) -> Tensor:
    """How much of a mood has appeared in the frames of each group, `[groups, 4, 1]`."""
    seconds = torch.arange(1, 1 + groups * FRAMES).view(groups, FRAMES, 1) / FPS
    return ((seconds - onset) / ONSET).clamp(0, 1)


def _added(groups: Tensor, curves: Tensor, spread: Tensor) -> Tensor:
    """Latents `[K, z, h, w]` with expressions `[K, 4, 8]` added where they show."""
    faces = slice(FLOW_CHANNELS, FLOW_CHANNELS + FRAMES * EXPRESSIONS)
    places = slice(MOTION_CHANNELS - PLACES, MOTION_CHANNELS)
    place = (groups[:, places].float() * spread[places, None, None])[:, list(MOUTHS)]  # [K, 8, h, w]
    more = (curves[..., None, None] * place[:, None]).flatten(1, 2) / spread[faces, None, None]
    changed = groups.clone()
    changed[:, faces] += more.to(groups.dtype)
    return changed
