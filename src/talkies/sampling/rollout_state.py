"""Where a long run is: written after every segment, so that a killed run goes on with the very same bytes.

Tensors lie in a safetensors file of their own per segment; ``state.json`` names the one that counts and is replaced in
one step, after the tensors are on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from talkies.domain.errors import InputError
from talkies.media.staging import staged
from talkies.sampling.rollout import Clip, HandOver

_VERSION = 1


@dataclass(frozen=True, eq=False)
class RolloutState:
    """Everything the next segment needs.

    Attributes:
        next_segment: Number of the first segment that is not finished.
        hand_over: What the segment before it left; None if there is no next segment.
        generators: States of the CPU generators, uint8.
    """

    next_segment: int
    hand_over: HandOver | None
    generators: tuple[Tensor, ...]


@dataclass(frozen=True)
class RolloutStore:
    """A folder with the state of one run.

    Args:
        folder: Made if it is not there.
        fingerprint: Tells this run from others: settings, inputs, model.
    """

    folder: Path
    fingerprint: str

    def save(self, state: RolloutState) -> None:
        """Replaces the state on the disk in one step.

        Raises:
            TalkiesError: It cannot be written; the state before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"segment-{state.next_segment:06d}.safetensors"
        tensors = {f"generator.{number}": value for number, value in enumerate(state.generators)}
        if state.hand_over is not None:
            tensors["frames"] = state.hand_over.motion.frames.contiguous()
            tensors["latents"] = state.hand_over.latents.contiguous()
            if state.hand_over.motion.flow is not None:
                tensors["flow"] = state.hand_over.motion.flow.contiguous()
        with staged(self.folder / name) as path:
            path.write_bytes(save(tensors))  # a full disk is an OSError here; save_file has errors of its own
        record = {
            "version": _VERSION,
            "fingerprint": self.fingerprint,
            "next_segment": state.next_segment,
            "tensors": name,
        }
        with staged(self.folder / "state.json") as path:
            path.write_text(json.dumps(record, indent=1) + "\n")
        for old in self.folder.glob("segment-*.safetensors"):
            if old.name != name:
                old.unlink()

    def load(self) -> RolloutState | None:
        """The state on the disk; None if there is none.

        Raises:
            InputError: It is another run's, or damaged.
        """
        record_path = self.folder / "state.json"
        if not record_path.is_file():
            return None
        again = "Start the run without resuming."
        try:
            record = json.loads(record_path.read_text())
            version, fingerprint = record["version"], record["fingerprint"]
            next_segment, name = int(record["next_segment"]), str(record["tensors"])
            if version != _VERSION or Path(name).name != name:
                raise InputError(f"The state in {self.folder} was written by another version.", again)
            if fingerprint != self.fingerprint:
                raise InputError(
                    f"The state in {self.folder} belongs to a run with other inputs, settings or model.", again
                )
            tensors = load_file(self.folder / name)
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(f"The state in {self.folder} is damaged: {type(error).__name__}.", again) from None
        hand_over = None
        if "frames" in tensors:
            hand_over = HandOver(Clip(tensors["frames"], tensors.get("flow")), tensors["latents"])
        count = sum(key.startswith("generator.") for key in tensors)
        return RolloutState(next_segment, hand_over, tuple(tensors[f"generator.{i}"] for i in range(count)))

    def clear(self) -> None:
        """Removes the state, if there is one, and nothing else."""
        if self.folder.is_dir():
            (self.folder / "state.json").unlink(missing_ok=True)
            for old in self.folder.glob("segment-*.safetensors"):
                old.unlink()


def generator_states(generators: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
    """Copies of the generators' states."""
    return tuple(generator.get_state().clone() for generator in generators)


def restored_generators(states: Sequence[Tensor]) -> list[torch.Generator]:
    """New CPU generators in these states."""
    generators = []
    for state in states:
        generator = torch.Generator(device="cpu")
        generator.set_state(state)
        generators.append(generator)
    return generators
