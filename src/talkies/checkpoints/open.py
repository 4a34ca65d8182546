"""One call that opens a transformer, whatever layout it comes in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from talkies.bundled import NANO, NANO_FOLDER, has_nano
from talkies.checkpoints.files import read_json, read_weights, refuse_pickle, shard_files
from talkies.checkpoints.keymap import KeyMap
from talkies.checkpoints.multitalk import AUDIO_RULES, RULES, audio_settings, infer_official_config, transformer_config
from talkies.checkpoints.official import empty_model, fill, fill_quantised, logical_shape, strip_prefix
from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

AUDIO_FILE = "multitalk.safetensors"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILE = re.compile(r"([\w.-]+/[\w.-]+)/([\w./-]+\.(?:safetensors|gguf))")
_HUB_PATTERNS = [
    "config.json", "model_index.json", "diffusion_pytorch_model*.safetensors", "*.safetensors.index.json", AUDIO_FILE,
    "transformer/*.json", "transformer/*.safetensors",
]  # fmt: skip


@dataclass(frozen=True)
class HubOptions:
    """How to reach the Hugging Face Hub.

    Args:
        revision: Branch, tag or commit; None is the main branch.
        cache_dir: Where downloads are kept; None is the usual cache.
        local_files_only: True never touches the network.
    """

    revision: str | None = None
    cache_dir: Path | None = None
    local_files_only: bool = False


def open_transformer(
    source: str | Path,
    multitalk: str | Path | None = None,
    dtype: torch.dtype | None = None,
    config: Mapping[str, Any] | None = None,
    hub: HubOptions | None = None,
) -> MultiTalkTransformer3DModel:
    """Opens a transformer in any of the layouts in use.

    1. The authors': a folder with the Wan2.1-I2V-14B-480P shards and ``multitalk.safetensors``, with or without an
       index file; or one .safetensors file in their naming.
    2. A diffusers folder of Wan (the model's or the pipeline's), with the MultiTalk file beside it or given.
    3. A diffusers folder of ours (the model's or the pipeline's).
    4. A .gguf file in the authors' naming, with the MultiTalk file given unless it is part of the file. The weights
       stay quantised; they are computed in ``dtype``, bfloat16 unless given.

    Args:
        source: Path, or id on the Hugging Face Hub: ``owner/name``, or ``owner/name/file.gguf`` for one file of it; or
            ``nano``, the model that comes with the package.
        multitalk: The MultiTalk file, a folder with it, or a Hub id; None looks for it in ``source``.
        dtype: Precision of the weights; None keeps that of the files.
        config: The authors' constructor arguments, over those read from the folder or off the shapes. Needed only
            where heads do not have Wan's 128 channels.
        hub: How to reach the Hub.

    Returns:
        The model in evaluation mode, on the CPU. Weights that need no conversion stay mapped to their file.

    Raises:
        InputError: Nothing there, an unknown layout, a pickle file, a damaged file, or keys that do not fit.
    """
    hub = hub or HubOptions()
    path = _locate(source, hub)
    audio = None if multitalk is None else _audio_file(_locate(multitalk, hub))
    if path.is_file():
        weights = strip_prefix(read_weights(path))
        return _from_official(_with_audio(weights, audio), config or {}, dtype)
    folder = path / "transformer" if (path / "transformer" / "config.json").is_file() else path
    settings = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    match settings.get("_class_name"):
        case "MultiTalkTransformer3DModel":
            return _from_ours(folder, settings, dtype)
        case "WanTransformer3DModel":
            audio = audio or _audio_beside(path, folder)
            return _from_diffusers_wan(folder, settings, audio, dtype)
        case None | "WanModel":
            audio = audio or (folder / AUDIO_FILE if (folder / AUDIO_FILE).is_file() else None)
            weights = _read_all(shard_files(folder, besides=AUDIO_FILE))
            return _from_official(_with_audio(weights, audio), {**settings, **(config or {})}, dtype)
        case other:
            raise InputError(f"{folder} holds a {other}, not a Wan or MultiTalk transformer.")


def _locate(source: str | Path, hub: HubOptions) -> Path:
    """The local file or folder of ``source``, downloaded if it is a Hub id."""
    path = Path(source).expanduser()
    if path.exists():
        refuse_pickle(path)
        return path
    text = str(source)
    if text == NANO and has_nano():
        return NANO_FOLDER
    if _HUB_FILE.fullmatch(text) or _HUB_ID.fullmatch(text):
        refuse_pickle(Path(text))
        return _download(text, hub)
    refuse_pickle(path)
    raise InputError(f"There is no file or folder {source}, and it is no id on the Hugging Face Hub (owner/name).")


def _download(text: str, hub: HubOptions) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    options: dict[str, Any] = {
        "revision": hub.revision, "cache_dir": hub.cache_dir, "local_files_only": hub.local_files_only
    }  # fmt: skip
    try:
        if found := _HUB_FILE.fullmatch(text):
            return Path(hf_hub_download(found[1], found[2], **options))
        return Path(snapshot_download(text, allow_patterns=_HUB_PATTERNS, **options))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise InputError(
            f"{text} is no local path, and the Hugging Face Hub did not give it: {str(error).splitlines()[0]}",
            "Check the name, the network, and `hf auth login` for private models.",
        ) from error


def _audio_file(path: Path) -> Path:
    found = path / AUDIO_FILE if path.is_dir() else path
    if not found.is_file():
        raise InputError(f"{path} holds no {AUDIO_FILE}.")
    return found


def _audio_beside(path: Path, folder: Path) -> Path:
    for place in (path, folder):
        if (place / AUDIO_FILE).is_file():
            return place / AUDIO_FILE
    raise InputError(
        f"{path} is plain Wan, without MultiTalk's audio layers.",
        f"Put {AUDIO_FILE} (MeiGen-AI/MeiGen-MultiTalk on the Hub) beside it, or name it with `multitalk`.",
    )


def _with_audio(weights: dict[str, torch.Tensor], audio: Path | None) -> dict[str, torch.Tensor]:
    """Base and audio weights together, both in the authors' naming."""
    if audio is None:
        if not any(name.startswith("audio_proj.") for name in weights):
            raise InputError(
                "These weights are plain Wan, without MultiTalk's audio layers.",
                f"Name {AUDIO_FILE} (MeiGen-AI/MeiGen-MultiTalk on the Hub) with `multitalk`.",
            )
        return weights
    added = strip_prefix(read_weights(audio))
    if twice := weights.keys() & added.keys():
        raise InputError(f"{audio} and the base model both hold {len(twice)} tensors, such as {min(twice)}.")
    return {**weights, **added}


def _from_official(
    weights: dict[str, torch.Tensor], settings: Mapping[str, Any], dtype: torch.dtype | None
) -> MultiTalkTransformer3DModel:
    """Weights in the authors' naming; settings that are not given are read off the shapes."""
    shapes = {name: logical_shape(tensor) for name, tensor in weights.items()}
    ours = transformer_config({**infer_official_config(shapes), **settings})
    model = empty_model(ours)
    tensors = KeyMap.of(RULES, model.state_dict().keys()).to_ours(weights)
    if any(hasattr(tensor, "quant_type") for tensor in tensors.values()):
        return fill_quantised(model, tensors, dtype or torch.bfloat16)
    return fill(model, tensors, dtype)


def _from_diffusers_wan(
    folder: Path, settings: Mapping[str, Any], audio: Path, dtype: torch.dtype | None
) -> MultiTalkTransformer3DModel:
    added = strip_prefix(read_weights(audio))
    weights = _read_all(shard_files(folder))
    base = {name: value for name, value in settings.items() if not name.startswith("_")}
    shapes = {name: tuple(tensor.shape) for name, tensor in added.items()}
    model = empty_model({**base, **audio_settings(shapes)})
    audio_names = [name for name in model.state_dict() if "audio" in name]
    return fill(model, {**weights, **KeyMap.of(AUDIO_RULES, audio_names).to_ours(added)}, dtype)


def _from_ours(folder: Path, settings: Mapping[str, Any], dtype: torch.dtype | None) -> MultiTalkTransformer3DModel:
    if "quantization_config" in settings:
        return MultiTalkTransformer3DModel.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)
    model = empty_model({name: value for name, value in settings.items() if not name.startswith("_")})
    return fill(model, _read_all(shard_files(folder)), dtype)


def _read_all(files: list[Path]) -> dict[str, torch.Tensor]:
    return {name: tensor for file in files for name, tensor in read_weights(file).items()}
