"""The two-way key map: nothing lost, nothing used twice, every problem named."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from talkies.checkpoints.keymap import KeyMap, Rule, name_groups
from talkies.checkpoints.multitalk import RULES
from talkies.domain.errors import InputError

TOY = (
    Rule("head", ("proj_out",)),
    Rule("blocks.{i}.mod", ("blocks.{i}.table",), ()),
    Rule("blocks.{i}.kv", ("blocks.{i}.to_k", "blocks.{i}.to_v")),
)


def toy(num_blocks: int) -> tuple[KeyMap, dict[str, torch.Tensor]]:
    tensors = {"head.weight": torch.randn(3, 2), "head.bias": torch.randn(3)}
    for i in range(num_blocks):
        tensors |= {f"blocks.{i}.mod": torch.randn(1, 6, 2), f"blocks.{i}.kv.weight": torch.randn(8, 2)}
        tensors[f"blocks.{i}.kv.bias"] = torch.randn(8)
    names = ["proj_out.weight", "proj_out.bias"]
    for i in range(num_blocks):
        names += [f"blocks.{i}.table", *(f"blocks.{i}.to_{x}.{p}" for x in "kv" for p in ("weight", "bias"))]
    return KeyMap.of(TOY, names), tensors


@given(num_blocks=st.integers(0, 12))
def test_there_and_back(num_blocks: int) -> None:
    keymap, tensors = toy(num_blocks)
    ours = keymap.to_ours(tensors)
    back = keymap.to_official(ours)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_joined_tensors_are_split_in_order_without_a_copy() -> None:
    keymap, tensors = toy(1)
    ours = keymap.to_ours(tensors)
    assert torch.equal(ours["blocks.0.to_k.weight"], tensors["blocks.0.kv.weight"][:4])
    assert torch.equal(ours["blocks.0.to_v.bias"], tensors["blocks.0.kv.bias"][4:])
    assert ours["blocks.0.to_v.weight"].untyped_storage().data_ptr() == tensors["blocks.0.kv.weight"].data_ptr()


def test_every_missing_and_unknown_key_is_named() -> None:
    keymap, tensors = toy(12)
    for i in (3, 4, 5, 9):
        del tensors[f"blocks.{i}.mod"]
    tensors["surprise.weight"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        keymap.to_ours(tensors)
    assert "4 missing: blocks.{3-5,9}.mod" in str(caught.value)
    assert "1 unknown: surprise.weight" in str(caught.value)
    ours = keymap.to_ours(toy(12)[1])
    del ours["proj_out.bias"]
    with pytest.raises(InputError, match=r"1 missing: proj_out\.bias"):
        keymap.to_official(ours)


def test_an_odd_number_of_rows_cannot_be_split() -> None:
    keymap, tensors = toy(1)
    tensors["blocks.0.kv.bias"] = torch.zeros(7)
    with pytest.raises(InputError, match=r"blocks\.0\.kv\.bias has 7 rows"):
        keymap.to_ours(tensors)


def test_a_name_cannot_occur_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        KeyMap((("a", ("x",)), ("b", ("x",))))


def test_the_rules_are_data_that_cannot_change() -> None:
    assert isinstance(RULES, tuple)
    with pytest.raises(AttributeError):
        RULES[0].official = "other"  # type: ignore[misc]


@given(st.sets(st.integers(0, 60), min_size=1))
def test_groups_name_every_block(numbers: set[int]) -> None:
    text = name_groups(f"blocks.{n}.w" for n in numbers)
    assert text.startswith("blocks.") and text.endswith(".w")
    listed: set[int] = set()
    for part in text.removeprefix("blocks.").removesuffix(".w").strip("{}").split(","):
        first, _, last = part.partition("-")
        listed |= set(range(int(first), int(last or first) + 1))
    assert listed == numbers
