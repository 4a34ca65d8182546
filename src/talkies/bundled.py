"""The small trained model that comes with the package."""

from __future__ import annotations

from pathlib import Path

#: What it is called, wherever a model is named.
NANO = "nano"
#: Its folder in diffusers' layout; empty in a copy of the package without weights.
NANO_FOLDER = Path(__file__).with_name("nano")


def has_nano() -> bool:
    """Whether this copy of the package holds its weights."""
    return (NANO_FOLDER / "model_index.json").is_file() and any(NANO_FOLDER.glob("*/*.safetensors"))
