"""How several voices reach one picture: the paper's way, and the three it is compared with (arXiv 2505.22647, 3.2).

- `l-rope`: all streams in one attention, told apart by the labels of `speaker_rope`. The paper's choice.
- `concat`: all streams in one attention; nothing tells whose voice is whose.
- `add`: every stream is attended to by itself, by the same weights, and the results are added.
- `split`: every stream is attended to by itself, and heard in its own upright strip of the picture alone.

One stream is heard in the same way by all of them. Names used in shapes are those of `transformer_multitalk`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from talkies.domain.errors import InputError
from talkies.models.speaker_rope import Rotary

AUDIO_INJECTIONS = ("l-rope", "concat", "add", "split")


class Voices(NamedTuple):
    """Audio tokens, and by what a block tells them apart. Nothing is heard by default.

    Attributes:
        tokens: `[B, T, P A, audio_dim]` for one attention, `[B, P, T, A, audio_dim]` for one each.
        rotary_emb: Tables of the audio tokens' labels, `[P A, 1, D / 2]`.
        frame_tokens: `[B, P+1, R]`: where the people are in the first frame.
        owner: `[B, S]`: which stream each video token hears.
    """

    tokens: torch.Tensor | None = None
    rotary_emb: Rotary | None = None
    frame_tokens: torch.Tensor | None = None
    owner: torch.Tensor | None = None


def check_audio_injection(name: str) -> None:
    """Refuses what is none of `AUDIO_INJECTIONS`.

    Raises:
        InputError: With the names there are.
    """
    if name not in AUDIO_INJECTIONS:
        raise InputError(f"audio_injection is {name!r}.", f"Choose one of {', '.join(AUDIO_INJECTIONS)}.")


def strip_owner(people: int, grid: tuple[int, int, int], device: torch.device | None = None) -> torch.Tensor:
    """Whose strip every token lies in; strips are equally wide (to within a column) and go from left to right.

    Args:
        people: N.
        grid: Token frames, rows and columns.
        device: Of the result.

    Returns:
        `[S]`, from 0 to N - 1.

    Raises:
        InputError: There are fewer columns than people.
    """
    frames, rows, columns = grid
    if columns < people:
        raise InputError(
            f"A picture of {columns} token columns cannot be split among {people} people.",
            "Give a wider picture, or another audio_injection.",
        )
    return (torch.arange(columns, device=device) * people // columns).repeat(frames * rows)


def pick_owned(candidates: list[torch.Tensor], owner: torch.Tensor) -> torch.Tensor:
    """Of C candidates `[B, S, dim]` each token's own, by `owner [B, S]`."""
    index = owner[:, None, :, None].expand(-1, 1, -1, candidates[0].shape[-1])
    return torch.stack(candidates, dim=1).gather(1, index).squeeze(1)


def attend_owned(
    attend: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    states: torch.Tensor,
    candidates: Sequence[torch.Tensor],
    owner: torch.Tensor,
) -> torch.Tensor:
    """`pick_owned` of `attend(states, candidate)` for every candidate, each token computed once.

    A training step of the small model with three texts takes 1.23 s so, 1.43 s with an attention of all tokens to each,
    1.02 s with one text for all (8 clips of two, one thread; 2026-11-28).

    Args:
        attend: Maps tokens `[B, n, dim]` and what they attend to, each by itself, to `[B, n, dim]`.
        states: `[B, S, dim]`.
        candidates: C of what is attended to.
        owner: `[B, S]`: which of them each token attends to.
    """
    if torch.compiler.is_compiling():  # how many tokens attend to what is known to nobody before
        return pick_owned([attend(states, candidate) for candidate in candidates], owner)
    read: torch.Tensor | None = None
    for number, candidate in enumerate(candidates):
        mine = owner == number
        most = int(mine.sum(1).max())
        if not most:
            continue
        # every sample's own tokens first, then others up to the same number, whose results are left out
        index = mine.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        wide = index[..., None].expand(-1, -1, states.shape[-1])
        part = attend(states.gather(1, wide), candidate) * mine.gather(1, index)[..., None]
        read = part.new_zeros(states.shape) if read is None else read
        read = read.scatter_add(1, wide, part)
    assert read is not None  # noqa: S101
    return read


def join_heard(heard: list[torch.Tensor], owner: torch.Tensor | None) -> torch.Tensor:
    """What was heard of each stream, `[B, S, dim]` each: every token's own by `owner [B, S]`, or the sum of all."""
    return sum(heard[1:], heard[0]) if owner is None else pick_owned(heard, owner)
