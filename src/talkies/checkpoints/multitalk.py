"""The authors' names for the weights and settings of MultiTalk on Wan2.1, and ours (diffusers')."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from talkies.checkpoints.keymap import Rule
from talkies.domain.errors import InputError

_WEIGHT = ("weight",)
_ITSELF = ()

BASE_RULES: tuple[Rule, ...] = (
    Rule("patch_embedding", ("patch_embedding",)),
    Rule("text_embedding.0", ("condition_embedder.text_embedder.linear_1",)),
    Rule("text_embedding.2", ("condition_embedder.text_embedder.linear_2",)),
    Rule("time_embedding.0", ("condition_embedder.time_embedder.linear_1",)),
    Rule("time_embedding.2", ("condition_embedder.time_embedder.linear_2",)),
    Rule("time_projection.1", ("condition_embedder.time_proj",)),
    Rule("img_emb.emb_pos", ("condition_embedder.image_embedder.pos_embed",), _ITSELF),
    Rule("img_emb.proj.0", ("condition_embedder.image_embedder.norm1",)),
    Rule("img_emb.proj.1", ("condition_embedder.image_embedder.ff.net.0.proj",)),
    Rule("img_emb.proj.3", ("condition_embedder.image_embedder.ff.net.2",)),
    Rule("img_emb.proj.4", ("condition_embedder.image_embedder.norm2",)),
    Rule("blocks.{i}.modulation", ("blocks.{i}.scale_shift_table",), _ITSELF),
    Rule("blocks.{i}.self_attn.q", ("blocks.{i}.attn1.to_q",)),
    Rule("blocks.{i}.self_attn.k", ("blocks.{i}.attn1.to_k",)),
    Rule("blocks.{i}.self_attn.v", ("blocks.{i}.attn1.to_v",)),
    Rule("blocks.{i}.self_attn.o", ("blocks.{i}.attn1.to_out.0",)),
    Rule("blocks.{i}.self_attn.norm_q", ("blocks.{i}.attn1.norm_q",), _WEIGHT),
    Rule("blocks.{i}.self_attn.norm_k", ("blocks.{i}.attn1.norm_k",), _WEIGHT),
    # The authors number the norms in another order: their norm3 comes before the text attention.
    Rule("blocks.{i}.norm3", ("blocks.{i}.norm2",)),
    Rule("blocks.{i}.cross_attn.q", ("blocks.{i}.attn2.to_q",)),
    Rule("blocks.{i}.cross_attn.k", ("blocks.{i}.attn2.to_k",)),
    Rule("blocks.{i}.cross_attn.v", ("blocks.{i}.attn2.to_v",)),
    Rule("blocks.{i}.cross_attn.o", ("blocks.{i}.attn2.to_out.0",)),
    Rule("blocks.{i}.cross_attn.norm_q", ("blocks.{i}.attn2.norm_q",), _WEIGHT),
    Rule("blocks.{i}.cross_attn.norm_k", ("blocks.{i}.attn2.norm_k",), _WEIGHT),
    Rule("blocks.{i}.cross_attn.k_img", ("blocks.{i}.attn2.add_k_proj",)),
    Rule("blocks.{i}.cross_attn.v_img", ("blocks.{i}.attn2.add_v_proj",)),
    Rule("blocks.{i}.cross_attn.norm_k_img", ("blocks.{i}.attn2.norm_added_k",), _WEIGHT),
    Rule("blocks.{i}.ffn.0", ("blocks.{i}.ffn.net.0.proj",)),
    Rule("blocks.{i}.ffn.2", ("blocks.{i}.ffn.net.2",)),
    Rule("head.modulation", ("scale_shift_table",), _ITSELF),
    Rule("head.head", ("proj_out",)),
)
"""Wan2.1, as in its own checkpoint."""

AUDIO_RULES: tuple[Rule, ...] = (
    Rule("blocks.{i}.norm_x", ("blocks.{i}.norm_audio",)),
    Rule("blocks.{i}.audio_cross_attn.q_linear", ("blocks.{i}.audio_attn.to_q",)),
    Rule("blocks.{i}.audio_cross_attn.kv_linear", ("blocks.{i}.audio_attn.to_k", "blocks.{i}.audio_attn.to_v")),
    Rule("blocks.{i}.audio_cross_attn.proj", ("blocks.{i}.audio_attn.to_out.0",)),
    Rule("audio_proj.proj1", ("audio_projector.proj_first",)),
    Rule("audio_proj.proj1_vf", ("audio_projector.proj_later",)),
    Rule("audio_proj.proj2", ("audio_projector.proj_hidden",)),
    Rule("audio_proj.proj3", ("audio_projector.proj_out",)),
    Rule("audio_proj.norm", ("audio_projector.norm",)),
)
"""What MultiTalk adds, as in ``multitalk.safetensors``."""

RULES = BASE_RULES + AUDIO_RULES

AUDIO_BLOCKS, AUDIO_CHANNELS = 12, 768
"""Layers and width of wav2vec2-base, fixed in the authors' program."""

_RENAMED_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "patch_size": "patch_size",
        "in_dim": "in_channels",
        "out_dim": "out_channels",
        "text_dim": "text_dim",
        "freq_dim": "freq_dim",
        "ffn_dim": "ffn_dim",
        "num_heads": "num_attention_heads",
        "num_layers": "num_layers",
        "cross_attn_norm": "cross_attn_norm",
        "eps": "eps",
        "audio_window": "audio_window",
        "intermediate_dim": "audio_hidden_dim",
        "output_dim": "audio_output_dim",
        "context_tokens": "audio_context_tokens",
        "vae_scale": "vae_scale_factor_temporal",
    }
)
_OFFICIAL_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "model_type": "i2v",
        "patch_size": (1, 2, 2),
        "in_dim": 36,
        "dim": 5120,
        "ffn_dim": 13824,
        "freq_dim": 256,
        "text_dim": 4096,
        "out_dim": 16,
        "num_heads": 40,
        "num_layers": 40,
        "cross_attn_norm": True,
        "eps": 1e-6,
        "audio_window": 5,
        "intermediate_dim": 512,
        "output_dim": 768,
        "context_tokens": 32,
        "vae_scale": 4,
    }
)
_FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "window_size": ((-1, -1), [-1, -1]),
        "qk_norm": (True,),
        "norm_input_visual": (True,),
        "norm_output_audio": (True,),
        "model_type": ("i2v", "t2v"),
    }
)
# Padding of the text and storage precision are no property of the network.
_IGNORED = frozenset({"_class_name", "_diffusers_version", "text_len", "weight_init"})
_IMAGE_DIM = 1280
_HEAD_DIM = 128


def transformer_config(official: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of ``MultiTalkTransformer3DModel`` from those of the authors' ``WanModel``.

    Args:
        official: ``dim``, ``num_heads``, ``ffn_dim``... What is left out has the authors' default (the 14B model).

    Raises:
        InputError: A setting is unknown, or has a value that the published network never uses.
    """
    known = {*_RENAMED_SETTINGS, *_FIXED, *_IGNORED, "dim"}
    if unknown := sorted(set(official) - known):
        raise InputError(f"Unknown settings in the authors' configuration: {', '.join(unknown)}.")
    for name, allowed in _FIXED.items():
        if name in official and official[name] not in allowed:
            raise InputError(f"{name} = {official[name]!r} is not supported.", f"Supported: {allowed[0]!r}.")
    settings = {**_OFFICIAL_DEFAULTS, **official}
    dim, heads = settings["dim"], settings["num_heads"]
    if dim % heads:
        raise InputError(f"dim {dim} does not divide into {heads} heads.")
    ours = {name: settings[theirs] for theirs, name in _RENAMED_SETTINGS.items()}
    has_image = settings["model_type"] == "i2v"
    return {
        **ours,
        "patch_size": tuple(ours["patch_size"]),
        "attention_head_dim": dim // heads,
        "image_dim": _IMAGE_DIM if has_image else None,
        "added_kv_proj_dim": dim if has_image else None,
        "audio_blocks": AUDIO_BLOCKS,
        "audio_channels": AUDIO_CHANNELS,
    }


def official_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The authors' constructor arguments for a model of ours: the inverse of ``transformer_config``.

    Args:
        config: ``model.config``.

    Raises:
        InputError: The authors' program cannot express the model: other audio features, other image features.
    """
    if (config["audio_blocks"], config["audio_channels"]) != (AUDIO_BLOCKS, AUDIO_CHANNELS):
        raise InputError(
            f"The authors' format knows audio features of {AUDIO_BLOCKS} x {AUDIO_CHANNELS} only, this model takes "
            f"{config['audio_blocks']} x {config['audio_channels']}.",
            "Keep this model in diffusers' layout.",
        )
    if config["image_dim"] not in (None, _IMAGE_DIM):
        raise InputError(f"The authors' format knows image features of {_IMAGE_DIM} channels only.")
    return {
        "model_type": "t2v" if config["image_dim"] is None else "i2v",
        "dim": config["num_attention_heads"] * config["attention_head_dim"],
        **{theirs: config[name] for theirs, name in _RENAMED_SETTINGS.items()},
        "patch_size": list(config["patch_size"]),
    }


def infer_official_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The authors' constructor arguments, read off the shapes of a checkpoint in their naming.

    The number of heads leaves no trace in the weights; every Wan model has heads of 128 channels, which is assumed.

    Args:
        shapes: Name -> shape, of base and audio weights; the audio weights may be absent.

    Raises:
        InputError: A tensor that is needed is missing; names it.
    """
    dim, in_dim, *patch = _shape(shapes, "patch_embedding.weight")
    blocks = [int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d+)\.", name))]
    config: dict[str, Any] = {
        "model_type": "i2v" if "img_emb.proj.1.weight" in shapes else "t2v",
        "patch_size": patch,
        "in_dim": in_dim,
        "dim": dim,
        "num_heads": max(dim // _HEAD_DIM, 1),
        "num_layers": max(blocks, default=-1) + 1,
        "ffn_dim": _shape(shapes, "blocks.0.ffn.0.bias")[0],
        "freq_dim": _shape(shapes, "time_embedding.0.weight")[1],
        "text_dim": _shape(shapes, "text_embedding.0.weight")[1],
        "out_dim": _shape(shapes, "head.head.bias")[0] // math.prod(patch),
        "cross_attn_norm": "blocks.0.norm3.weight" in shapes,
    }
    if "audio_proj.norm.weight" in shapes:
        config |= _infer_audio(shapes)
    return config


def audio_settings(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Our constructor arguments for the audio layers, read off the shapes of ``multitalk.safetensors``.

    Raises:
        InputError: The file holds no audio adapter.
    """
    if "audio_proj.norm.weight" not in shapes:
        raise InputError("The MultiTalk file has no audio_proj.norm.weight.", "Is it multitalk.safetensors?")
    ours = {_RENAMED_SETTINGS[name]: value for name, value in _infer_audio(shapes).items()}
    return {**ours, "audio_blocks": AUDIO_BLOCKS, "audio_channels": AUDIO_CHANNELS}


def _infer_audio(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    frame = AUDIO_BLOCKS * AUDIO_CHANNELS
    output_dim = _shape(shapes, "audio_proj.norm.weight")[0]
    window = _shape(shapes, "audio_proj.proj1.weight")[1] // frame
    return {
        "audio_window": window,
        "vae_scale": _shape(shapes, "audio_proj.proj1_vf.weight")[1] // frame - window + 1,
        "intermediate_dim": _shape(shapes, "audio_proj.proj1.bias")[0],
        "output_dim": output_dim,
        "context_tokens": _shape(shapes, "audio_proj.proj3.bias")[0] // output_dim,
    }


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise InputError(f"The checkpoint has no {name}.", "It is not a Wan2.1 transformer in the authors' naming.")
    return tuple(shapes[name])
