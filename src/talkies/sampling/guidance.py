"""Guidance by text and by audio: which passes a step needs and how their predictions are combined.

A guider is a frozen value. What it has to remember between steps (the momentum of APG) is an explicit value that it
hands out and takes back, so that two runs can share one guider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from talkies.domain.errors import InputError


@dataclass(frozen=True)
class Branch:
    """One pass of the network within a step.

    Args:
        name: Name of the pass, also its key in ``cache_context`` of diffusers: "cond", "drop_text", "drop_audio" or
            "uncond".
        text: True for the prompt, False for the negative prompt.
        audio: True for the speakers' audio, False for one all-zero stream.
    """

    name: str
    text: bool
    audio: bool


COND = Branch("cond", text=True, audio=True)
DROP_TEXT = Branch("drop_text", text=False, audio=True)
DROP_AUDIO = Branch("drop_audio", text=True, audio=False)
UNCOND = Branch("uncond", text=False, audio=False)


@dataclass(frozen=True, eq=False)
class Momentum:
    """What APG remembers between steps: the running sums of both differences, None before the first step."""

    text: torch.Tensor | None = None
    audio: torch.Tensor | None = None


class Guider(Protocol):
    """Decides which passes a step needs and combines their predictions."""

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The passes of a step, in the order in which they run."""
        ...

    def combine(self, predictions: Mapping[str, torch.Tensor], memory: Momentum) -> tuple[torch.Tensor, Momentum]:
        """The guided velocity and the memory for the next step.

        Args:
            predictions: Velocity of each branch by its name, ``[B, C, T, H, W]``.
            memory: ``Momentum()`` at the first step, afterwards what the step before returned.
        """
        ...


def _needed_branches(text_scale: float, audio_scale: float) -> tuple[Branch, ...]:
    """The passes that influence the result; a pass whose weight is exactly zero is not run."""
    for name, scale in (("text", text_scale), ("audio", audio_scale)):
        if not 0 <= scale <= 100:
            raise InputError(f"The {name} guidance scale is {scale}.", "Use a number from 0 to 100; 1 is no guidance.")
    if text_scale == 1 and audio_scale == 1:
        return (COND,)
    if text_scale == 1:
        return (COND, DROP_AUDIO)
    if audio_scale == 1:
        return (COND, DROP_TEXT)
    return (COND, DROP_TEXT, UNCOND)


def _by_channel(scale: float, voiced: tuple[int, ...], like: torch.Tensor) -> float | torch.Tensor:
    """`scale`, but 1 in the channels `voiced` of ``like [B, C, T, H, W]``."""
    if not voiced:
        return scale
    scales = like.new_full((like.shape[1], 1, 1, 1), scale)
    scales[list(voiced)] = 1.0
    return scales


@dataclass(frozen=True)
class ClassifierFreeGuidance:
    """Guidance with separate scales for text and audio (MultiTalk).

    Three passes: ``v = uncond + text (cond - drop_text) + audio (drop_text - uncond)``. Text scale 1 takes two:
    ``v = drop_audio + audio (cond - drop_audio)``; so does audio scale 1, where ``uncond`` cancels; both at 1 take one.

    Args:
        text_scale: In [0, 100]; 5 in the paper, 1 for distilled few-step weights.
        audio_scale: In [0, 100]; 4 in the paper, 2 for few-step weights.
        voiced: Channels that voices alone decide (`unseen_channels` of the transformer): words do not guide them.

    Raises:
        InputError: A scale is out of its range.
    """

    text_scale: float = 5.0
    audio_scale: float = 4.0
    voiced: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _needed_branches(self.text_scale, self.audio_scale)

    @property
    def branches(self) -> tuple[Branch, ...]:
        return _needed_branches(self.text_scale, self.audio_scale)

    def combine(self, predictions: Mapping[str, torch.Tensor], memory: Momentum) -> tuple[torch.Tensor, Momentum]:
        cond = predictions[COND.name]
        text_scale = _by_channel(self.text_scale, self.voiced, cond)
        match self.branches:
            case (_,):
                velocity = cond
            case (_, other):
                base = predictions[other.name]
                scale = self.audio_scale if other == DROP_AUDIO else text_scale
                velocity = base + scale * (cond - base)
            case _:
                drop_text, uncond = predictions[DROP_TEXT.name], predictions[UNCOND.name]
                velocity = uncond + text_scale * (cond - drop_text) + self.audio_scale * (drop_text - uncond)
        return velocity, memory


@dataclass(frozen=True)
class AdaptiveProjectedGuidance:
    """Guidance that keeps only what is orthogonal to the prediction, against over-saturation (APG, arXiv 2410.02416).

    ``v = cond + (text - 1) A(cond - drop_text) + (audio - 1) A(drop_text - uncond)``, with text scale 1
    ``v = cond + (audio - 1) A(cond - drop_audio)``. A difference is first replaced by its running sum
    ``d <- d + momentum * d_before``, then shortened to ``norm_threshold``, then split along ``cond``, all per sample
    over channels, frames, height and width.

    Args:
        text_scale, audio_scale, voiced: As in ``ClassifierFreeGuidance``.
        momentum: In (-1, 1); 0 turns it off.
        norm_threshold: Longest L2 norm of a difference; 0 turns the limit off.
        eta: Share of the part parallel to ``cond`` that is kept, in [0, 1].

    Raises:
        InputError: A value is out of its range.
    """

    text_scale: float = 5.0
    audio_scale: float = 4.0
    voiced: tuple[int, ...] = ()
    momentum: float = -0.75
    norm_threshold: float = 55.0
    eta: float = 0.0

    def __post_init__(self) -> None:
        _needed_branches(self.text_scale, self.audio_scale)
        if not -1 < self.momentum < 1:
            raise InputError(f"APG's momentum is {self.momentum}.", "Use a number between -1 and 1; -0.75 is usual.")
        if not self.norm_threshold >= 0:
            raise InputError(f"APG's norm threshold is {self.norm_threshold}.", "Use 0 (no limit) or more.")
        if not 0 <= self.eta <= 1:
            raise InputError(f"APG's eta is {self.eta}.", "Use a number from 0 to 1.")

    @property
    def branches(self) -> tuple[Branch, ...]:
        return _needed_branches(self.text_scale, self.audio_scale)

    def combine(self, predictions: Mapping[str, torch.Tensor], memory: Momentum) -> tuple[torch.Tensor, Momentum]:
        cond = predictions[COND.name]
        velocity, text_sum, audio_sum = cond, memory.text, memory.audio
        names = {branch.name for branch in self.branches}
        if DROP_TEXT.name in names:
            text_sum = self.accumulate(cond - predictions[DROP_TEXT.name], memory.text)
            scale = _by_channel(self.text_scale, self.voiced, cond)
            velocity = velocity + (scale - 1) * self.project(text_sum, cond)
        if self.audio_scale != 1:
            difference = (
                predictions[DROP_TEXT.name] - predictions[UNCOND.name]
                if UNCOND.name in names
                else cond - predictions[DROP_AUDIO.name]
            )
            audio_sum = self.accumulate(difference, memory.audio)
            velocity = velocity + (self.audio_scale - 1) * self.project(audio_sum, cond)
        return velocity, Momentum(text_sum, audio_sum)

    def accumulate(self, difference: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
        """The running sum of a difference; ``before`` is None at the first step."""
        return difference if before is None else difference + self.momentum * before

    def project(self, difference: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """``difference``, shortened and without (1 - eta of) its part along ``cond``. Both ``[B, ...]``, per sample."""
        dims = tuple(range(1, cond.ndim))
        if self.norm_threshold > 0:
            norm = torch.linalg.vector_norm(difference, dim=dims, keepdim=True)  # [B, 1, 1, 1, 1]
            difference = difference * (self.norm_threshold / norm).clamp(max=1.0)
        # Double precision as in the published formula: the two parts nearly cancel. MPS has none.
        precise = torch.float32 if cond.device.type == "mps" else torch.float64
        direction = cond.to(precise)
        direction = direction / torch.linalg.vector_norm(direction, dim=dims, keepdim=True).clamp_min(1e-12)
        wide = difference.to(precise)
        parallel = (wide * direction).sum(dim=dims, keepdim=True) * direction
        return (wide - parallel).to(difference) + self.eta * parallel.to(difference)
