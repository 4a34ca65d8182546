"""Tiny networks with random weights, inputs that fit them, and how any of them are drawn and compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from hypothesis import assume, settings
from hypothesis import strategies as st

from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

TEXT_DIM, IMAGE_DIM, CHANNELS = 6, 10, 5
LAWS = settings(max_examples=30, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Case:
    """A network and the positional arguments of its forward."""

    description: str
    model: MultiTalkTransformer3DModel = field(repr=False)
    grid: tuple[int, int, int] = field(repr=False)
    people: int = field(repr=False)
    arguments: tuple[torch.Tensor | None, ...] = field(repr=False)

    @property
    def masks(self) -> torch.Tensor:
        masks = self.arguments[-1]
        assert masks is not None
        return masks


@lru_cache(maxsize=16)
def tiny_network(
    patch: tuple[int, int, int] = (1, 2, 2),
    heads: int = 2,
    head_dim: int = 8,
    window: int = 5,
    stride: int = 4,
    audio_tokens: int = 2,
    image: bool = True,
    injection: str = "l-rope",
    label_range: float = 4.0,
    label_stride: float = 20.0,
    layers: int = 2,
) -> MultiTalkTransformer3DModel:
    """Every weight is random, also those that start at zero or one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MultiTalkTransformer3DModel(
            patch_size=patch,
            num_attention_heads=heads,
            attention_head_dim=head_dim,
            in_channels=CHANNELS,
            out_channels=3,
            text_dim=TEXT_DIM,
            freq_dim=8,
            ffn_dim=24,
            num_layers=layers,
            image_dim=IMAGE_DIM if image else None,
            added_kv_proj_dim=heads * head_dim if image else None,
            rope_max_seq_len=16,
            audio_window=window,
            audio_blocks=2,
            audio_channels=3,
            audio_hidden_dim=7,
            audio_output_dim=9,
            audio_context_tokens=audio_tokens,
            vae_scale_factor_temporal=stride,
            audio_injection=injection,
            person_label_range=label_range,
            person_label_stride=label_stride,
        ).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim < 2 else 1.5 * parameter[0].numel() ** -0.5)
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    return model


def make_case(
    patch: tuple[int, int, int] = (1, 2, 2),
    people: int = 2,
    grid: tuple[int, int, int] = (2, 3, 4),
    heads: int = 2,
    head_dim: int = 8,
    window: int = 5,
    stride: int = 4,
    audio_tokens: int = 2,
    text_tokens: int = 5,
    image_tokens: int = 3,
    injection: str = "l-rope",
    label_range: float = 4.0,
    label_stride: float = 20.0,
    batch: int = 1,
    seed: int = 0,
) -> Case:
    """Masks are random and may overlap; every person has a token of their own."""
    description = str(locals())
    model = tiny_network(
        patch, heads, head_dim, window, stride, audio_tokens, image_tokens > 0, injection, label_range, label_stride
    )
    random = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    size = [g * p for g, p in zip(grid, patch, strict=True)]
    frames = stride * (size[0] - 1) + 1
    masks = (noise(batch, people + 1, *size[1:]) > 0.5).float()
    for sample in range(batch):
        places = torch.randperm(grid[1] * grid[2], generator=random)[:people]
        rows, columns = places // grid[2] * patch[1], places % grid[2] * patch[2]
        masks[sample, torch.arange(people), rows, columns] = 1
    arguments = (
        noise(batch, CHANNELS, *size),
        1000 * torch.rand(batch, generator=random),
        noise(batch, text_tokens, TEXT_DIM),
        noise(batch, image_tokens, IMAGE_DIM) if image_tokens else None,
        noise(batch, people, frames, window, 2, 3),
        masks,
    )
    return Case(description, model, grid, people, arguments)


@st.composite
def cases(draw: st.DrawFn, **fixed: Any) -> Case:
    """Any small network with inputs that fit it."""
    patch = draw(st.sampled_from([(1, 2, 2), (1, 1, 1), (1, 1, 2), (2, 2, 2)]))
    people = draw(st.integers(1, 6))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    assume(rows * columns >= people)
    choices = {
        "patch": patch,
        "people": people,
        "grid": (draw(st.integers(1, 3)), rows, columns),
        "heads": draw(st.integers(1, 5)),
        "head_dim": draw(st.sampled_from([6, 8, 16])),
        "window": draw(st.sampled_from([1, 2, 3, 5])),
        "stride": draw(st.sampled_from([1, 2, 4])),
        "audio_tokens": draw(st.integers(1, 3)),
        "text_tokens": draw(st.integers(1, 7)),
        "image_tokens": draw(st.sampled_from([0, 1, 5])),
        "batch": draw(st.integers(1, 2)),
        "seed": draw(st.integers(0, 2**16)),
    }
    return make_case(**(choices | fixed))


def no_near_tie(maps: list[torch.Tensor]) -> bool:
    """Whether rounding cannot change a token's class."""
    for person_map in maps:
        best, second = person_map.topk(2, dim=0).values
        if bool(((best - second) < 1e-4 * best).any()):
            return False
    return True


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> bool:
    return bool((actual - expected).abs().max() <= tolerance * expected.abs().max())
