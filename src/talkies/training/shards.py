"""The latent cache: what training reads, encoded once, in safetensors shards.

A cache is a folder with `manifest.json` and `shard-00000.safetensors`, ... Shards are written under a temporary name
and renamed; the manifest is replaced after each of them, so that a reader, or a writer that goes on after a crash, sees
only whole shards. A training run may read a cache while more samples are added to it.

Every tensor of sample i is stored as `<i>.<field>`; prompts shared by samples of one shard are stored once.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from talkies.domain.errors import InputError

FORMAT = "talkies-latent-cache"
VERSION = 1
MANIFEST = "manifest.json"
FRAMES_PER_LATENT = 4  # Wan's temporal stride; latent frame 0 covers one video frame
_PROMPT_FIELDS = ("prompt_embeds", "prompt_ids")
_EXPECTED_DIMS = {
    "latents": (4,),
    "person_masks": (3,),
    "audio": (4,),
    "condition": (3, 4),
    "known": (4,),
    "weight": (3,),
    "prompt_embeds": (2, 3),
    "prompt_ids": (1, 2),
    "image_embeds": (2,),
}


@dataclass(frozen=True)
class CachedSample:
    """One clip, encoded.

    Attributes:
        id: Where it comes from, for logs.
        latents: Clean video latents `[z, T, h, w]`, scaled as the transformer sees them.
        person_masks: One mask per person, then the background, `[P + 1, h, w]`, 0 or 1.
        audio: Hidden states of the audio encoder `[P, F + 2 * context, S, C]` at 25 fps, F = 4 (T - 1) + 1: real
            features on either side where the recording has them. None for footage without sound.
        condition: Features of the reference picture `[c, h, w]` or `[c, T, h, w]`, appended to the input's channels.
        known: Known latents `[z, T, h, w]` outside the given frames (Wan encodes the reference followed by grey
            frames); zeros if None.
        weight: Loss weight of each cell `[T, h, w]`, at least 1, more on lips and faces.
        prompt_embeds: Text encoder's output `[L, D]`; or `[P + 1, L, D]`, what each person's part of the picture reads,
            then the background's. Or
        prompt_ids: token ids `[L]` or `[P + 1, L]`, padded with 0, when the text encoder is trained too.
        image_embeds: Image tokens `[L, D]` for models that take them.
        loss_weight: Factor on this sample's loss.
    """

    id: str
    latents: Tensor
    person_masks: Tensor
    audio: Tensor | None = None
    condition: Tensor | None = None
    known: Tensor | None = None
    weight: Tensor | None = None
    prompt_embeds: Tensor | None = None
    prompt_ids: Tensor | None = None
    image_embeds: Tensor | None = None
    loss_weight: float = 1.0

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by field name, without those that are None."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}

    @property
    def reads_by_region(self) -> bool:
        """Whether every person's part of the picture has a prompt of its own."""
        if self.prompt_ids is not None:
            return self.prompt_ids.ndim == _EXPECTED_DIMS["prompt_ids"][1]
        return self.prompt_embeds is not None and self.prompt_embeds.ndim == _EXPECTED_DIMS["prompt_embeds"][1]

    def check(self, context: int) -> None:
        """Raises InputError where shapes contradict each other."""
        tensors = self.tensors()
        for name, value in tensors.items():
            if value.ndim not in _EXPECTED_DIMS[name]:
                raise InputError(f"Sample {self.id}: {name} has shape {list(value.shape)}.", "See CachedSample.")
        channels, frames, height, width = self.latents.shape
        expected: dict[str, tuple[int, ...]] = {
            "known": (channels, frames, height, width),
            "weight": (frames, height, width),
        }
        if self.condition is not None:
            expected["condition"] = (self.condition.shape[0], *self.latents.shape[5 - self.condition.ndim :])
        expected["person_masks"] = (self.person_masks.shape[0], height, width)
        for name in _PROMPT_FIELDS:
            if name in tensors and tensors[name].ndim == _EXPECTED_DIMS[name][1]:
                expected[name] = (self.person_masks.shape[0], *tensors[name].shape[1:])
        if self.audio is not None:
            steps = FRAMES_PER_LATENT * (frames - 1) + 1 + 2 * context
            expected["audio"] = (self.person_masks.shape[0] - 1, steps, *self.audio.shape[2:])
        for name, shape in expected.items():
            if name in tensors and tuple(tensors[name].shape) != shape:
                raise InputError(
                    f"Sample {self.id}: {name} has shape {list(tensors[name].shape)}, expected {list(shape)} for "
                    f"latents {list(self.latents.shape)} and {context} frames of audio context."
                )
        # tokens take every second cell of the masks (patch 2); a person without a token cannot be told from others
        if not self.person_masks[:-1, ::2, ::2].flatten(1).any(dim=1).all():
            raise InputError(f"Sample {self.id}: a person's mask is too small to hold a token.")
        if (self.prompt_embeds is None) == (self.prompt_ids is None):
            raise InputError(f"Sample {self.id}: give either prompt_embeds or prompt_ids.")


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{root} is no latent cache: {error}.", "Write one with `CacheWriter`.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise InputError(f"{path} is not a manifest of {FORMAT} version {VERSION}.")
    return manifest


class CacheWriter:
    """Adds samples to a cache, new or existing.

    Args:
        root: Cache folder.
        context: Audio frames kept on either side of each clip.
        null_prompt: The empty (or negative) prompt, `[L, D]` embeddings or `[L]` ids, used when text is dropped.
        samples_per_shard: Samples per file.
        about: Facts worth keeping (codec, audio encoder, date); must be JSON.

    Raises:
        InputError: The folder holds another cache with a different context, or a sample's shapes do not fit.

    Use as a context manager; leaving it writes the last shard.
    """

    def __init__(
        self,
        root: Path,
        *,
        context: int,
        null_prompt: Tensor,
        samples_per_shard: int = 64,
        about: dict[str, Any] | None = None,
    ) -> None:
        if context < 0 or samples_per_shard < 1:
            raise InputError("context must be >= 0 and samples_per_shard >= 1.")
        self._root = root
        self._size = samples_per_shard
        self._pending: list[CachedSample] = []
        root.mkdir(parents=True, exist_ok=True)
        if (root / MANIFEST).exists():
            self._manifest = _read_manifest(root)
            if self._manifest["context"] != context:
                raise InputError(f"{root} was written with audio context {self._manifest['context']}, not {context}.")
        else:
            self._manifest = {
                "format": FORMAT,
                "version": VERSION,
                "context": context,
                "about": about or {},
                "shards": [],
            }
            _save_tensors({"null_prompt": null_prompt}, root / "null_prompt.safetensors")
            self._save_manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def __len__(self) -> int:
        return sum(len(shard["samples"]) for shard in self._manifest["shards"]) + len(self._pending)

    def add(self, sample: CachedSample) -> None:
        """Checks a sample and keeps it; a full shard is written at once."""
        sample.check(self._manifest["context"])
        self._pending.append(sample)
        if len(self._pending) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Writes what is pending as a shard of its own."""
        if not self._pending:
            return
        tensors: dict[str, Tensor] = {}
        entries: list[dict[str, Any]] = []
        prompts: dict[str, str] = {}
        for index, sample in enumerate(self._pending):
            shapes: dict[str, list[int]] = {}
            prompt = ""
            for name, tensor in sample.tensors().items():
                value = tensor.detach().cpu().contiguous()
                shapes[name] = list(value.shape)
                if name in _PROMPT_FIELDS:
                    raw = value.view(torch.uint8).numpy().tobytes() + str(shapes[name]).encode()
                    key = hashlib.blake2b(raw, digest_size=12).hexdigest()
                    prompt = prompts.setdefault(key, f"prompt{len(prompts)}")
                    tensors[f"{prompt}.{name}"] = value
                else:
                    tensors[f"{index}.{name}"] = value
            entries.append({"id": sample.id, "prompt": prompt, "shapes": shapes, "loss_weight": sample.loss_weight})
        name = f"shard-{len(self._manifest['shards']):05d}.safetensors"
        _save_tensors(tensors, self._root / name)
        self._manifest["shards"].append({"file": name, "samples": entries})
        self._save_manifest()
        self._pending.clear()

    def close(self) -> None:
        """Writes the last shard."""
        self.flush()

    def _save_manifest(self) -> None:
        write_text(self._root / MANIFEST, json.dumps(self._manifest))


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    # equal storage (expanded or aliased tensors) is refused by safetensors: store each on its own
    save_file({name: value.clone() for name, value in tensors.items()}, temporary)
    temporary.replace(path)


@dataclass(frozen=True)
class SampleEntry:
    """Where a sample lies and what shapes it has.

    Attributes:
        id: The sample's name.
        shard: Its file.
        index: Its number in the file.
        prompt: Key of its prompt in the file.
        shapes: Shape of every field; samples with equal shapes can share a batch.
        loss_weight: Factor on its loss.
    """

    id: str
    shard: Path
    index: int
    prompt: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    loss_weight: float


class LatentCache:
    """Map-style view of one or more caches; shards are memory-mapped and read on demand.

    Args:
        roots: Cache folders; all must share the audio context.
        limit: Only the first this many samples.

    Raises:
        InputError: No cache, an empty one, or caches that do not fit together.
    """

    def __init__(self, roots: tuple[Path, ...], limit: int | None = None) -> None:
        self._roots = roots
        self._limit = limit
        self._entries: list[SampleEntry] = []
        self._seen: set[tuple[Path, str]] = set()
        self._handles: dict[Path, Any] = {}
        self.context = int(_read_manifest(roots[0])["context"])
        self.refresh()
        if not self._entries:
            raise InputError(f"The caches {', '.join(map(str, roots))} hold no samples yet.")
        path = roots[0] / "null_prompt.safetensors"
        with safe_open(path, framework="pt") as file:
            self.null_prompt: Tensor = file.get_tensor("null_prompt")

    def refresh(self) -> int:
        """Takes in shards written since; earlier samples keep their numbers. Returns the number of samples."""
        for root in self._roots:
            manifest = _read_manifest(root)
            if manifest["context"] != self.context:
                raise InputError(f"{root} has audio context {manifest['context']}, {self._roots[0]} {self.context}.")
            for shard in manifest["shards"]:
                if (root, shard["file"]) in self._seen:
                    continue
                self._seen.add((root, shard["file"]))
                self._entries.extend(
                    SampleEntry(
                        entry["id"],
                        root / Path(shard["file"]).name,
                        index,
                        entry["prompt"],
                        tuple(sorted((name, tuple(shape)) for name, shape in entry["shapes"].items())),
                        float(entry["loss_weight"]),
                    )
                    for index, entry in enumerate(shard["samples"])
                )
        del self._entries[self._limit or len(self._entries) :]
        return len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> SampleEntry:
        """What is known about a sample without reading it."""
        return self._entries[index]

    def __getitem__(self, index: int) -> CachedSample:
        """Reads a sample. Raises InputError when its shard is gone or damaged."""
        entry = self._entries[index]
        try:
            handle = self._handles.get(entry.shard)
            if handle is None:
                handle = safe_open(entry.shard, framework="pt")
                self._handles[entry.shard] = handle
            tensors = {
                name: handle.get_tensor(f"{entry.prompt if name in _PROMPT_FIELDS else entry.index}.{name}")
                for name, _ in entry.shapes
            }
        except (OSError, SafetensorError) as error:
            raise InputError(f"Sample {entry.id} cannot be read from {entry.shard}: {error}.") from None
        return CachedSample(id=entry.id, loss_weight=entry.loss_weight, **tensors)
