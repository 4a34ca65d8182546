"""Where the model is and what its folder says about it, without loading any weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import talkies
from talkies.domain.errors import InputError

#: The small trained model that comes with the package.
BUNDLED = Path(talkies.__file__).with_name("nano")

_MAX_CONFIG_BYTES = 32_000_000


@dataclass(frozen=True)
class ModelFolder:
    """A pipeline folder in diffusers' layout.

    Attributes:
        path: The folder.
        index: Its `model_index.json`.
    """

    path: Path
    index: dict[str, Any]

    @property
    def name(self) -> str:
        """What to call it."""
        # In the Hub's cache the folder is named after a commit: models--owner--name/snapshots/<commit>.
        for part in self.path.parts:
            if part.startswith("models--"):
                return part.removeprefix("models--").replace("--", "/")
        return self.path.name

    def config(self, part: str) -> dict[str, Any]:
        """The configuration of a part, empty where there is none.

        Raises:
            InputError: The file is damaged.
        """
        path = self.path / part / "config.json"
        return _read_json(path) if path.is_file() else {}

    def weight_files(self) -> list[Path]:
        """All weights, sorted by name."""
        return sorted(self.path.glob("*/*.safetensors"))

    @property
    def weight_bytes(self) -> int:
        """Size of all weights on disk."""
        return sum(path.stat().st_size for path in self.weight_files())

    @property
    def generation(self) -> dict[str, Any]:
        """The model's own settings, as its folder holds them."""
        return dict(self.index.get("generation") or {})

    @property
    def size_multiple(self) -> int:
        """Both sides of a video are multiples of this: a token's side in pixels."""
        vae, transformer = self.config("vae"), self.config("transformer")
        patch = transformer.get("patch_size") or (1, 2, 2)
        return int(vae.get("scale_factor_spatial", 8)) * max(int(value) for value in patch[1:])


def find_model(name: str | None) -> ModelFolder:
    """The model of that name.

    Args:
        name: A folder, an id of the Hugging Face Hub that was fetched before (`owner/name`), or None: the model that
            comes with the package.

    Raises:
        InputError: It is not here, or the folder holds something else.
    """
    if name is None:
        if not (BUNDLED / "model_index.json").is_file():
            raise InputError(
                "This copy of Talkies has no model of its own.",
                "Name one with --model (a folder, or an id fetched with `talkies models fetch`).",
            )
        return open_model(BUNDLED)
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
    folder = ModelFolder(path, index)
    if not folder.weight_files():
        raise InputError(f"{path} holds no weights (*.safetensors).", "Was it fetched completely?")
    return folder


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
