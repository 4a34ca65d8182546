"""Localisation and labels, against plain sums and by their laws."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plain_multitalk import nearest, person_map, rotate, token_labels
from talkies.domain.errors import InputError
from talkies.models.speaker_rope import (
    apply_rotary,
    attention_with_person_map,
    audio_labels,
    check_person_tokens,
    label_rotary,
    person_attention_map,
    person_tokens,
    video_labels,
)

LAWS = settings(max_examples=40, deadline=None, derandomize=True)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@LAWS
@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99)
)
def test_masks_reach_tokens_by_nearest(people, height, width, rows, columns, seed) -> None:
    masks = noise(seed, 2, people + 1, height, width)
    expected = [[nearest(mask, rows, columns) for mask in sample] for sample in masks]
    assert person_tokens(masks, (rows, columns)).tolist() == expected


@LAWS
@given(
    st.fixed_dictionaries(
        {
            "batch": st.integers(1, 2),
            "heads": st.integers(1, 5),
            "dim": st.sampled_from([2, 6, 8, 32]),
            "people": st.integers(1, 11),
            "frame": st.integers(1, 20),
            "frames": st.integers(1, 4),
            "scale": st.sampled_from([0.1, 1.0, 3.0]),
            "seed": st.integers(0, 2**16),
        }
    )
)
def test_person_map_is_the_masks_mean_of_the_softmax(case) -> None:
    shape = (case["batch"], case["frames"] * case["frame"], case["heads"], case["dim"])
    query, key, value = noise(case["seed"], 3, *shape) * case["scale"]
    tokens = noise(case["seed"], case["batch"], case["people"] + 1, case["frame"]) > 0.3
    ours = person_attention_map(query, key[:, : tokens.shape[-1]], tokens)
    joint, joint_map = attention_with_person_map(query, key, value, tokens)
    for sample, members in enumerate(tokens.tolist()):
        heads = query[sample].transpose(0, 1), key[sample, : tokens.shape[-1]].transpose(0, 1)
        expected = person_map(*heads, members)
        torch.testing.assert_close(ours[sample], expected, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(joint_map[sample], expected, rtol=1e-4, atol=1e-7)
    expected = F.scaled_dot_product_attention(*(each.transpose(1, 2) for each in (query, key, value))).transpose(1, 2)
    torch.testing.assert_close(joint, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_map(dtype: torch.dtype) -> None:
    query, key, value = noise(0, 3, 1, 120, 4, 16)
    tokens = noise(1, 1, 3, 40) > 0
    exact = person_attention_map(query, key[:, :40], tokens)
    for half in (
        person_attention_map(query.to(dtype), key[:, :40].to(dtype), tokens),
        attention_with_person_map(query.to(dtype), key.to(dtype), value.to(dtype), tokens)[1],
    ):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, exact, rtol=2e-2, atol=0)


def test_no_matrix_of_tokens_and_first_frame_is_built() -> None:
    """Nothing that is computed has as many elements."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for each in result if isinstance(result, tuple) else (result,):
                if isinstance(each, torch.Tensor):
                    self.elements = max(self.elements, each.numel())
            return result

    query, key, value = noise(0, 3, 1, 600, 2, 8)
    tokens = noise(1, 1, 3, 200) > 0
    with Largest() as largest, torch.no_grad():
        person_attention_map(query, key[:, :200], tokens)
        attention_with_person_map(query, key, value, tokens)
    assert largest.elements <= 600 * 2 * 16  # queries with room for the masks


@LAWS
@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**16))
def test_labels_law(people, length, seed) -> None:
    """Person i lies in [20 i, 20 i + 4] and is heard at 20 i + 2, the background is 12."""
    scores = noise(seed, 2, people + 1, length).abs()
    labels, owner = video_labels(scores), scores.argmax(dim=1)
    for person in range(people):
        own = labels[owner == person]
        assert ((own >= 20 * person) & (own <= 20 * person + 4)).all()
    assert (labels[owner == people] == 12).all()
    torch.testing.assert_close(labels, torch.stack([token_labels(sample) for sample in scores]))
    assert audio_labels(people, 3).tolist() == [20.0 * person + 2 for person in range(people) for _ in range(3)]


def test_constant_map_gives_the_start_of_the_range() -> None:
    scores = torch.stack([torch.full((5,), 0.2), torch.full((5,), 0.7), torch.full((5,), 0.1)])[None]
    assert video_labels(scores).tolist() == [[20.0] * 5]


def test_label_stays_below_its_end_by_the_authors_epsilon() -> None:
    scores = torch.tensor([[[0.0, 1e-7], [0.0, 0.0]]])
    torch.testing.assert_close(video_labels(scores), torch.tensor([[0.0, 4 * 1e-7 / 1.1e-7]]))


@LAWS
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**16), st.floats(-100, 100))
def test_rotary_law(length, pairs, seed, shift) -> None:
    """It rotates pairs, and products depend on the difference of labels alone."""
    query, key = noise(seed, 2, length, 2 * pairs)
    labels = 30 * noise(seed + 1, length)
    tables = label_rotary(labels, 2 * pairs)
    rotated = apply_rotary(query, *tables)
    angles = labels[:, None] * torch.tensor([10000.0 ** (-i / pairs) for i in range(pairs)])
    torch.testing.assert_close(rotated, rotate(query, angles), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rotated.norm(dim=-1), query.norm(dim=-1))
    moved = label_rotary(labels + shift, 2 * pairs)
    products = (rotated * apply_rotary(key, *tables)).sum(-1)
    moved_products = (apply_rotary(query, *moved) * apply_rotary(key, *moved)).sum(-1)
    torch.testing.assert_close(products, moved_products, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotary_is_the_same_when_compiled(dtype: torch.dtype) -> None:
    states, tables = noise(0, 2, 5, 3, 8).to(dtype), label_rotary(noise(1, 5, 1), 8)
    compiled = torch.compile(apply_rotary, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(states, *tables), apply_rotary(states, *tables))


def test_person_without_tokens_is_named() -> None:
    tokens = torch.ones(2, 4, 6, dtype=torch.bool)
    tokens[:, 3] = False  # the background may be empty
    check_person_tokens(tokens)
    tokens[1, 1] = False
    with pytest.raises(InputError, match=r"person 2 .*sample 2 of 2"):
        check_person_tokens(tokens)
