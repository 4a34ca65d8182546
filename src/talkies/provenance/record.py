"""What made a video, in one record: kept beside it and, in short, inside it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from talkies.provenance.consent import Consent
from talkies.version import __version__

_PACKAGES = ("torch", "diffusers", "transformers", "av", "numpy")


@dataclass(frozen=True)
class Source:
    """A file something was made from.

    Attributes:
        name: File name, without its folder.
        sha256: Of its bytes.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class GenerationRecord:
    """Everything needed to know what a video is and to make it again.

    Attributes:
        model: Name of the model.
        model_files: Its weight files.
        sources: Picture and recordings.
        prompt, negative_prompt: As used.
        people: Who is where, in words.
        seed: Of the noise.
        settings: Steps, guidance, size, length and so on.
        consent: Who stands for the people shown.
        credentials: Whether content credentials are embedded, and if not, why.
        mark: The invisible mark's identity as four hexadecimal digits, or None with small frames.
        device: What it was computed on.
    """

    model: str
    model_files: tuple[Source, ...]
    sources: tuple[Source, ...]
    prompt: str
    negative_prompt: str
    people: tuple[str, ...]
    seed: int
    settings: dict[str, Any]
    consent: Consent
    credentials: str
    mark: str | None
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, versions included."""
        return {
            "generator": f"talkies {__version__}",
            "ai_generated": True,
            **asdict(self),
            "versions": versions(),
        }

    def sidecar(self, video_sha256: str | None) -> str:
        """The text of the file beside the video."""
        return json.dumps(self.as_dict() | {"video_sha256": video_sha256}, indent=2, ensure_ascii=False) + "\n"

    def tags(self) -> dict[str, str]:
        """Tags to embed in the container."""
        brief = self.as_dict()
        brief["model_files"] = [source["sha256"][:16] for source in brief["model_files"]]
        return {
            "title": self.prompt[:120] or "Talkies video",
            "comment": json.dumps(brief, ensure_ascii=False),
            "description": "AI-generated video: these people never said this in front of a camera.",
        }


def mark_identity(seed: int, sources: tuple[Source, ...], prompt: str) -> int:
    """16 bits that tell one video from another: from its seed, its sources and its prompt."""
    text = json.dumps([seed, [source.sha256 for source in sources], prompt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:2], "big")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source(path: Path) -> Source:
    """Name and hash of a file."""
    return Source(readable(path.name), sha256_of(path))


def weights_source(path: Path) -> Source:
    """Name and hash of a weight file, without reading it where the Hub's cache names its blob by its SHA-256."""
    return Source(readable(path.name), hub_hash(path) or sha256_of(path))


def hub_hash(path: Path) -> str | None:
    """The SHA-256 after which the Hub's cache has named a large file, or None; `talkies models verify` checks it."""
    blob = path.resolve().name
    return blob if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) else None


def readable(name: str) -> str:
    """A file's name as text that can be written down; bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the result."""
    found = {"python": platform.python_version(), "talkies": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def sidecar_path(video: Path) -> Path:
    """Where the record of `video` lies."""
    return video.with_name(video.name + ".json")
