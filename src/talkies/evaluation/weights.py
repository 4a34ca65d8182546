"""Weights the user brings: where they lie, and reading them without running anything they hold."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from talkies.domain.errors import InputError

#: Environment variable that names the folder of such weights; else `~/.cache/talkies/evaluation`.
FOLDER_VARIABLE = "TALKIES_EVALUATION_WEIGHTS"

Network = TypeVar("Network")


@dataclass(frozen=True)
class Brought:
    """Weights that are not included.

    Attributes:
        name: Of the network. files: Names looked for, the best first.
        where: Where their authors publish them. licence: Theirs.
    """

    name: str
    files: tuple[str, ...]
    where: str
    licence: str

    def find(self) -> Path | None:
        """The file, if the user has put it there."""
        return next((path for name in self.files if (path := weights_folder() / name).is_file()), None)

    def missing(self) -> str:
        """Why they cannot be used, and how to mend that; "" where they are there."""
        if self.find() is not None:
            return ""
        return f"{self.name} is not there; put {self.files[0]} ({self.where}) into {weights_folder()}"

    def require(self) -> Path:
        """The file.

        Raises:
            InputError: It is not there.
        """
        path = self.find()
        if path is None:
            raise InputError(f"The weights of {self.name} are missing.", self.missing())
        return path


SYNCNET = Brought(
    "SyncNet",
    ("syncnet_v2.safetensors", "syncnet_v2.model"),
    "http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
    "MIT",
)
INCEPTION = Brought(
    "Inception (FID)",
    ("pt_inception-2015-12-05.safetensors", "pt_inception-2015-12-05-6726825d.pth"),
    "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
    "Apache-2.0",
)


def weights_folder() -> Path:
    """Where weights are looked for."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "talkies" / "evaluation"


def checksum(path: Path) -> str:
    """SHA-256, noted beside results that brought weights gave."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_into(network: Network, path: Path, name: str) -> Network:
    """Fills a torch module with a file's tensors, all of them and no others.

    Args:
        network: A module. path: `.safetensors`, or a file of torch, read with `weights_only`. name: For messages.

    Raises:
        InputError: The file is broken, is no mapping of tensors, or holds other tensors.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    assert isinstance(network, torch.nn.Module)  # noqa: S101
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).split("\n", 1)[0][:120]
        raise InputError(f"{path.name} cannot be read as weights of {name} ({reason}).", "Fetch it again.") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path.name} is no mapping of tensors.", f"Give the weights of {name}.")
    wanted = network.state_dict()
    lacking = [n for n, v in wanted.items() if n not in state or state[n].shape != v.shape]
    lacking = [n for n in lacking if not n.endswith("num_batches_tracked")]
    strange = [n for n in state if n not in wanted]
    if lacking or strange:
        raise InputError(
            f"{path.name} does not hold the weights of {name}: "
            f"{len(lacking)} tensors are missing or of another shape, {len(strange)} are unknown.",
            f"First: {(lacking or strange)[0]}.",
        )
    network.load_state_dict(state, strict=False)
    return network
