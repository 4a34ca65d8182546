"""Where the model is and what its folder says about it, without loading any weights."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talkies.bundled import NANO, NANO_FOLDER, has_nano
from talkies.domain.errors import InputError

if TYPE_CHECKING:
    from talkies.runtime.profile import ModelSize

_MAX_CONFIG_BYTES = 32_000_000
_MAX_HEADER_BYTES = 100_000_000


#: The name under which the authors' model is put together from its public parts.
OFFICIAL = "multitalk-14b"


@dataclass(frozen=True)
class OfficialParts:
    """Where the public parts of the 14B model lie.

    Attributes:
        wan: Wan2.1-I2V-14B-480P in diffusers' layout.
        multitalk: Folder with `multitalk.safetensors`.
        wav2vec2: wav2vec2 in transformers' layout.
    """

    wan: Path
    multitalk: Path
    wav2vec2: Path


@dataclass(frozen=True)
class ModelFolder:
    """A pipeline folder in diffusers' layout, or the parts of the 14B model.

    Attributes:
        name: What to call it.
        path: The folder.
        generation: The model's own generation settings, as its folder holds them.
        official: The parts, where it has to be put together from them.
    """

    name: str
    path: Path
    generation: Mapping[str, Any] = field(default_factory=dict)
    official: OfficialParts | None = None

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part, empty where there is none.

        Raises:
            InputError: The file is damaged.
        """
        path = self.path / part / "config.json"
        return _read_json(path) if path.is_file() else {}

    def number(self, part: str, name: str, default: int) -> int:
        """A whole number of a part's configuration.

        Raises:
            InputError: It is something else.
        """
        value = self.config(part).get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{self.path / part / 'config.json'}: {name} is {value!r}, not a number above 0.")
        return value

    def weights(self) -> dict[str, tuple[Path, ...]]:
        """Weight files of every part, by the part's name."""
        found = {
            folder.name: tuple(sorted(folder.glob("*.safetensors")))
            for folder in sorted(self.path.iterdir())
            if folder.is_dir()
        }
        if self.official is not None:
            found["transformer"] = (*found.get("transformer", ()), self.official.multitalk / "multitalk.safetensors")
            found["audio_encoder"] = tuple(sorted(self.official.wav2vec2.glob("*.safetensors")))
        return {part: files for part, files in found.items() if files}

    def weight_files(self) -> list[Path]:
        """All weight files, part by part."""
        return [path for files in self.weights().values() for path in files]

    @property
    def weight_bytes(self) -> int:
        """Size of all weights on disk."""
        return sum(path.stat().st_size for path in self.weight_files())

    @property
    def size_multiple(self) -> int:
        """Both sides of a video are multiples of this: a token's side in pixels."""
        patch = self.config("transformer").get("patch_size") or (1, 2, 2)
        if not (isinstance(patch, list | tuple) and len(patch) == 3 and all(isinstance(side, int) for side in patch)):
            raise InputError(
                f"{self.path / 'transformer' / 'config.json'}: patch_size is {patch!r}, not three numbers."
            )
        return self.number("vae", "scale_factor_spatial", 8) * max(1, *patch[1:])

    def model_size(self, activations: int) -> ModelSize:
        """What must fit into memory, counted from the weight files' headers.

        Args:
            activations: Bytes of intermediate results.

        Raises:
            InputError: A file is damaged.
        """
        from talkies.runtime.profile import ModelSize

        parts = {part: _merged(map(_shapes, files)) for part, files in self.weights().items()}
        blocks: dict[str, int] = {}
        for name, count in parts.get("transformer", {}).items():
            prefix, _, rest = name.partition("blocks.")
            if rest and prefix in ("", "diffusion_model."):
                number = rest.split(".")[0]
                blocks[number] = blocks.get(number, 0) + count
        encoder = parts.get("text_encoder", {})
        others = [shapes for part, shapes in parts.items() if part not in ("transformer", "text_encoder")]
        return ModelSize(
            transformer=sum(parts.get("transformer", {}).values()),
            blocks=sum(blocks.values()),
            largest_block=max(blocks.values(), default=0),
            text_encoder=sum(encoder.values()),
            largest_text_layer=max(encoder.values(), default=0),
            others=sum(sum(shapes.values()) for shapes in others),
            activations=activations,
        )


def _merged(shapes: Any) -> dict[str, int]:
    return {name: count for entry in shapes for name, count in entry.items()}


def _shapes(path: Path) -> dict[str, int]:
    """How many numbers each tensor of a safetensors file has."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise InputError(f"{path} is damaged.", "Fetch or copy it again; `talkies models verify` checks all.") from None


def find_model(name: str | None) -> ModelFolder:
    """The model of that name.

    Args:
        name: A folder, an id of the Hugging Face Hub that was fetched before (`owner/name`), `multitalk-14b` (fetched
            too), or `nano` (or None): the model that comes with the package.

    Raises:
        InputError: It is not here, or the folder holds something else.
    """
    if name is None or name == NANO:
        if not has_nano():
            raise InputError(
                "This copy of Talkies has no model of its own.",
                "Name one with --model (a folder, or an id fetched with `talkies models fetch`).",
            )
        return open_model(NANO_FOLDER)
    if name == OFFICIAL:
        return _official()
    path = Path(name).expanduser()
    if path.is_dir():
        return open_model(path)
    if path.exists():
        raise InputError(f"The model {name} is a file, not a folder.", "Give the folder with model_index.json.")
    cached = _cached(name)
    if cached is None:
        raise InputError(f"There is no model {name!r} here.", f"Get it first: talkies models fetch {name}")
    return open_model(cached)


def open_model(path: Path) -> ModelFolder:
    """The pipeline in a folder.

    Raises:
        InputError: There is none, or its weights could run code when they are loaded.
    """
    index_path = path / "model_index.json"
    if not index_path.is_file():
        raise InputError(f"{path} holds no pipeline: model_index.json is missing.",
                         "See docs/models.md for the folder's layout.")  # fmt: skip
    index = _read_json(index_path)
    kind = index.get("_class_name")
    if kind != "MultiTalkPipeline":
        raise InputError(f"{path} holds a {kind}, not a MultiTalkPipeline.")
    generation = index.get("generation") or {}
    if not isinstance(generation, dict):
        raise InputError(f"{index_path}: generation holds no settings.")
    folder = ModelFolder(_name(path), path, generation)
    if not folder.weight_files():
        raise InputError(f"{path} holds no weights (*.safetensors).", "Was it fetched completely?")
    return folder


def _name(path: Path) -> str:
    # In the Hub's cache the folder is named after a commit: models--owner--name/snapshots/<commit>.
    for part in path.parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return path.resolve().name


def _official() -> ModelFolder:
    """The 14B model, if all of its parts were fetched."""
    from talkies.cli.models import CATALOGUE, cached_folder

    entry = next(entry for entry in CATALOGUE if entry.name == OFFICIAL)
    folders = [cached_folder(part) for part in entry.parts]
    missing = [part.repo for part, folder in zip(entry.parts, folders, strict=True) if folder is None]
    if missing:
        raise InputError(f"{OFFICIAL} is not (completely) here: {missing[0]} is missing.",
                         f"Get it first: talkies models fetch {OFFICIAL}")  # fmt: skip
    wan, multitalk, wav2vec2 = (folder for folder in folders if folder is not None)
    return ModelFolder(OFFICIAL, wan, official=OfficialParts(wan, multitalk, wav2vec2))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise InputError(f"{path} is too large for a configuration.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise InputError(f"{path} is not valid JSON.") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a configuration.")
    return data


def _cached(name: str) -> Path | None:
    """Folder of a Hub model in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        return None
