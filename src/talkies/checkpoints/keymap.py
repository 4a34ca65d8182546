"""Two-way renaming of weights as immutable data: every key is used once, or named in the error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from talkies.domain.errors import InputError


@dataclass(frozen=True)
class Rule:
    """One module (or bare parameter) in both namings. ``{i}`` stands for the number of a block.

    Args:
        official: Its name in the authors' checkpoint.
        ours: Its name in our model. Several names: the official tensors are ours, joined along dimension 0 in equal
            parts (``kv_linear`` is ``to_k`` over ``to_v``).
        parameters: What the module holds; empty when the names are those of a parameter themselves.
    """

    official: str
    ours: tuple[str, ...]
    parameters: tuple[str, ...] = ("weight", "bias")

    def entries(self, num_blocks: int) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Complete names of every tensor: ``(official, ours)``."""
        numbers = range(num_blocks) if "{i}" in self.official else range(1)
        for i in numbers:
            for parameter in self.parameters or ("",):
                tail = f".{parameter}" if parameter else ""
                yield (
                    self.official.replace("{i}", str(i)) + tail,
                    tuple(name.replace("{i}", str(i)) + tail for name in self.ours),
                )


@dataclass(frozen=True)
class KeyMap:
    """Literal names in both namings. Build one with ``KeyMap.of``.

    Args:
        entries: ``(official name, our names)`` of every tensor; no name occurs twice.
    """

    entries: tuple[tuple[str, tuple[str, ...]], ...]

    def __post_init__(self) -> None:
        for names in ([official for official, _ in self.entries], [n for _, ours in self.entries for n in ours]):
            if len(set(names)) != len(names):
                raise ValueError(f"Names occur twice: {name_groups(n for n in set(names) if names.count(n) > 1)}")

    @classmethod
    def of(cls, rules: Iterable[Rule], our_names: Iterable[str]) -> KeyMap:
        """The part of ``rules`` that concerns a model.

        Args:
            rules: Rules of a family of models.
            our_names: Names of all tensors of the model. Rules for parts it does not have fall away.
        """
        wanted = set(our_names)
        numbers = [int(name.split(".")[1]) for name in wanted if name.startswith("blocks.")]
        num_blocks = max(numbers, default=-1) + 1
        entries = (entry for rule in rules for entry in rule.entries(num_blocks))
        return cls(tuple(entry for entry in entries if wanted.intersection(entry[1])))

    def to_ours(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Official names to ours. Parts of a joined tensor are views of it, nothing is copied.

        Raises:
            InputError: A key is unknown or missing, or a joined tensor cannot be split evenly. Names every key.
        """
        _check_names(tensors, [official for official, _ in self.entries], "checkpoint")
        result: dict[str, torch.Tensor] = {}
        for official, ours in self.entries:
            tensor = tensors[official]
            if len(ours) > 1 and tensor.shape[0] % len(ours):
                raise InputError(
                    f"{official} has {tensor.shape[0]} rows, which do not split into {' and '.join(ours)}.",
                    "The file is damaged or belongs to another model.",
                )
            parts = tensor.chunk(len(ours)) if len(ours) > 1 else (tensor,)
            result.update(zip(ours, parts, strict=True))
        return result

    def to_official(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Our names to the official ones. Only tensors that are joined are copied.

        Raises:
            InputError: A key is unknown or missing. Names every key.
        """
        _check_names(tensors, [name for _, ours in self.entries for name in ours], "model")
        return {
            official: torch.cat([tensors[name] for name in ours]) if len(ours) > 1 else tensors[ours[0]]
            for official, ours in self.entries
        }


def name_groups(names: Iterable[str]) -> str:
    """All names in one line, those of several blocks together: ``blocks.{0-39}.norm_x.weight``."""
    groups: dict[str, set[int]] = {}
    for name in names:
        found = re.match(r"(.*?\bblocks\.)(\d+)(\..*)", name)
        if found:
            groups.setdefault(f"{found[1]}{{}}{found[3]}", set()).add(int(found[2]))
        else:
            groups.setdefault(name.replace("{", "{{").replace("}", "}}"), set())
    return ", ".join(template.format(_number_runs(numbers)) for template, numbers in sorted(groups.items()))


def _number_runs(numbers: set[int]) -> str:
    """``{0, 1, 2, 5}`` -> ``{0-2,5}``; a single number stays bare."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in runs)
    return text if text.isdigit() else f"{{{text}}}"


def _check_names(found: Iterable[str], expected: Iterable[str], where: str) -> None:
    given, wanted = set(found), set(expected)
    problems = []
    if missing := wanted - given:
        problems.append(f"{len(missing)} missing: {name_groups(missing)}")
    if unknown := given - wanted:
        problems.append(f"{len(unknown)} unknown: {name_groups(unknown)}")
    if problems:
        raise InputError(f"The keys of the {where} do not fit. {'. '.join(problems)}.")
