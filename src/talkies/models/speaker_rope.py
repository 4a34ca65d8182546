"""Who speaks where: MultiTalk's adaptive person localisation and L-RoPE (arXiv 2505.22647), for any number of people.

Every video token gets a *label*, a real number, from the person it belongs to; every audio token gets the label of the
person it comes from. The labels are positions of a one-dimensional rotary embedding, so a video token attends most to
the audio whose label lies near its own.

Names used in shapes: B batch, N people, T token frames, R tokens in one frame, H heads, D channels of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

from talkies.domain.errors import InputError

Rotary = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, one for each pair of channels."""
ROTARY_BASE = 10000.0
_MIN_MAX_EPSILON = 1e-8
_VALUE_ALIGNMENT = 8


@dataclass(frozen=True)
class PersonLabels:
    """Where labels lie: those of person i in [stride i, stride i + range], heard at the middle of it.

    Args:
        range: Width of a person's range, at least 0 (supplement: 0-4 and 20-24; compared with 0-2 and 2-4).
        stride: From the start of one person's range to that of the next; above 0 and no less than `range`.

    Raises:
        InputError: People could not be told apart by such labels.
    """

    range: float = 4.0
    stride: float = 20.0

    def __post_init__(self) -> None:
        if not (0 <= self.range <= self.stride and 0 < self.stride < math.inf):
            raise InputError(
                f"person_label_range {self.range} and person_label_stride {self.stride} do not tell people apart.",
                "Give a stride above 0 and a range from 0 to the stride; the paper has 4 and 20.",
            )

    @property
    def background(self) -> float:
        """Between the ranges of the first two people, as far from one as from the other: 12 by default."""
        return (self.range + self.stride) / 2


PAPER_LABELS = PersonLabels()


def person_tokens(person_masks: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Brings masks to token resolution by nearest neighbour.

    Args:
        person_masks: `[B, N+1, H, W]`, the people in order, then the background; a pixel belongs where the value is
            above zero. Any H and W.
        grid: Tokens along height and width of one frame.

    Returns:
        `[B, N+1, R]` boolean.
    """
    tokens = F.interpolate(person_masks.float(), size=grid, mode="nearest")  # [B, N+1, h, w]
    return tokens.flatten(2) > 0  # [B, N+1, R]


def check_person_tokens(tokens: torch.Tensor) -> None:
    """Refuses people who own no token. The background may be empty.

    Args:
        tokens: `[B, N+1, R]` boolean, from `person_tokens`.

    Raises:
        InputError: Names the person (counted from 1) and the sample.
    """
    empty = (~tokens[:, :-1].any(dim=-1)).nonzero().tolist()
    if empty:
        sample, person = empty[0]
        raise InputError(
            f"The mask of person {person + 1} covers no token of the first frame (sample {sample + 1} of "
            f"{tokens.shape[0]}, {tokens.shape[-1]} tokens).",
            "Give a larger region: a token takes its mask from one point of its patch.",
        )


def person_attention_map(query: torch.Tensor, key: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """How much each video token looks at each person in the first frame.

    For every token: the softmax over the first frame's keys, averaged over each mask and over the heads. This is
    attention whose values are the masks, so fused attention gives it without the tokens x first-frame matrix.

    Args:
        query: `[B, S, H, D]`, after normalisation and rotary embedding.
        key: `[B, R, H, D]` of the first frame, after normalisation and rotary embedding.
        tokens: `[B, N+1, R]` boolean masks.

    Returns:
        `[B, N+1, S]` in float32. Zero for an empty mask.
    """
    classes = tokens.shape[1]
    # On the CPU fused attention wants values as wide as the keys, and builds the full matrix otherwise.
    width = key.shape[-1] if key.device.type == "cpu" else _VALUE_ALIGNMENT
    value = F.pad(tokens.mT, (0, -classes % width)).to(key.dtype)  # [B, R, >= N+1]
    value = value[:, :, None].expand(-1, -1, key.shape[2], -1).contiguous()  # [B, R, H, >= N+1]; kernels want strides
    parts = value.split(key.shape[-1], dim=-1)
    mass = [dispatch_attention_fn(query, key, part, backend=AttentionBackendName.NATIVE) for part in parts]
    return _mean_over_masks(torch.cat(mass, dim=-1)[..., :classes], tokens)


def attention_with_person_map(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Self-attention and `person_attention_map` for a quarter of the map's price; for inference on a CPU.

    The keys are cut into the first frame's and the others'. The first part's values carry the masks in a few further
    channels, so that its scores and exponentials serve both results; the two parts are then joined by their
    normalisers, as in ring attention.

    Args:
        query: `[B, S, H, D]`, after normalisation and rotary embedding; the first R tokens are the first frame.
        key: Likewise.
        value: `[B, S, H, D]`.
        tokens: `[B, N+1, R]` boolean masks.

    Returns:
        `[B, S, H, D]` and the map `[B, N+1, S]` in float32.
    """
    query, key = query.type_as(value), key.type_as(value)  # autocast leaves normalised states in float32
    classes, frame, dim = tokens.shape[1], tokens.shape[2], query.shape[-1]
    room = (0, classes + -classes % _VALUE_ALIGNMENT)
    masks = F.pad(tokens.mT, (0, -classes % _VALUE_ALIGNMENT)).to(value.dtype)  # [B, R, room]
    masks = masks[:, :, None].expand(-1, -1, value.shape[2], -1)  # [B, R, H, room]
    first, first_normaliser = _flash_attention(
        F.pad(query, room), F.pad(key[:, :frame], room), torch.cat([value[:, :frame], masks], dim=-1), dim**-0.5
    )  # [B, S, H, D + room], [B, S, H, 1]
    person_map = _mean_over_masks(first[..., dim : dim + classes], tokens)
    if frame == key.shape[1]:
        return first[..., :dim], person_map
    others, others_normaliser = _flash_attention(query, key[:, frame:], value[:, frame:], dim**-0.5)
    share = torch.sigmoid(first_normaliser - others_normaliser).to(value.dtype)  # of the first frame
    return torch.lerp(others, first[..., :dim], share), person_map


def _flash_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`[B, S, H, D]` and the logarithm of the softmax's denominator `[B, S, H, 1]`, which no public call returns."""
    output, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=scale
    )
    return output.transpose(1, 2), normaliser.transpose(1, 2)[..., None]


def _mean_over_masks(mass: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Attention `[B, S, H, N+1]` that falls on each mask -> its mean over the mask and the heads, `[B, N+1, S]`."""
    # Dividing after the attention instead of before keeps half precision from rounding 1 / (size of the mask).
    size = tokens.sum(dim=-1).clamp(min=1)  # [B, N+1]
    mean = mass.mean(dim=2, dtype=torch.float32).mT / size[..., None]
    # A softmax sums to one, so a mask of the whole frame has one value everywhere. What rounding leaves of that must
    # not be stretched over the person's range of labels.
    whole = tokens.all(dim=-1, keepdim=True)  # [B, N+1, 1]
    return torch.where(whole, 1 / tokens.shape[-1], mean)


def video_labels(person_map: torch.Tensor, labels: PersonLabels = PAPER_LABELS) -> torch.Tensor:
    """The label of every video token: its class is the largest row of the map, its place in the class's range is that
    row min-max normalised over all tokens.

    Args:
        person_map: `[B, N+1, S]`, people then background.
        labels: Where they lie.

    Returns:
        `[B, S]` in float32.
    """
    people = person_map[:, :-1]  # [B, N, S]
    low, high = people.amin(dim=-1, keepdim=True), people.amax(dim=-1, keepdim=True)
    start = labels.stride * torch.arange(people.shape[1], device=people.device)  # [N]
    each = (people - low) / (high - low + _MIN_MAX_EPSILON) * labels.range + start[None, :, None]
    each = F.pad(each, (0, 0, 0, 1), value=labels.background)  # [B, N+1, S]
    owner = person_map.argmax(dim=1, keepdim=True)  # [B, 1, S]
    return each.gather(1, owner).squeeze(1)  # [B, S]


def audio_labels(
    people: int, tokens_each: int, device: torch.device | None = None, labels: PersonLabels = PAPER_LABELS
) -> torch.Tensor:
    """The labels of one frame's audio tokens, `[people * tokens_each]`: 2, 22, 42, ..., person after person."""
    centre = labels.range / 2 + labels.stride * torch.arange(people, device=device)
    return centre.repeat_interleave(tokens_each)


def label_rotary(labels: torch.Tensor, head_dim: int) -> Rotary:
    """Cosines and sines of the one-dimensional rotary embedding at `labels` `[...]`, each `[..., head_dim / 2]`."""
    exponent = torch.arange(0, head_dim, 2, device=labels.device).float() / head_dim
    angle = labels[..., None].float() * (1.0 / ROTARY_BASE**exponent)
    return angle.cos(), angle.sin()


def apply_rotary(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates interleaved channel pairs.

    Args:
        states: `[..., D]`.
        cos: Broadcastable to `[..., D / 2]`.
        sin: The same.

    Returns:
        `[..., D]` in the type of `states`.
    """
    pairs = states.float().unflatten(-1, (-1, 2))  # [..., D/2, 2]
    if torch.compiler.is_compiling():  # inductor generates no code for complex numbers
        first, second = pairs.unbind(-1)
        rotated = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
    else:  # one pass over memory instead of six
        rotated = torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin))
    return rotated.flatten(-2).type_as(states)
