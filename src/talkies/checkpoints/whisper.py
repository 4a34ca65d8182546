"""Whisper's encoder out of a CTranslate2 file, the form in which pip packages carry it.

The format (CTranslate2, MIT): version, name and revision of the specification, then each variable as name, rank,
dimensions, type and raw values. Nothing in it is executed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from talkies.domain.errors import InputError
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder

_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_LARGEST = 1 << 30


def read_ctranslate2(path: Path) -> dict[str, Tensor]:
    """All variables of a CTranslate2 `model.bin`, floats as float32.

    Raises:
        InputError: The file is damaged, too large or of another format.
    """
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path} is larger than 1 GiB: not a small Whisper model.")
    data, offset = path.read_bytes(), 0

    def take(format_: str) -> int:
        nonlocal offset
        (value,) = struct.unpack_from(f"<{format_}", data, offset)
        offset += struct.calcsize(f"<{format_}")
        return int(value)

    def text() -> str:
        nonlocal offset
        length = take("H")
        value = data[offset : offset + length - 1].decode("ascii")
        offset += length
        return value

    variables = {}
    try:
        take("I"), text(), take("I")
        for _ in range(take("I")):
            name = text()
            shape = [take("I") for _ in range(take("B"))]
            kind = np.dtype(_TYPES[take("B")])
            size = take("I")
            values = np.frombuffer(data, kind, size // kind.itemsize, offset).reshape(shape)
            offset += size
            variables[name] = torch.from_numpy(values.astype(np.float32) if kind.kind == "f" else values.copy())
    except (struct.error, KeyError, ValueError) as error:
        raise InputError(f"{path} is no CTranslate2 model: {error}.") from None
    return variables


def load_whisper_encoder(encoder: WhisperSpeechEncoder, variables: dict[str, Tensor]) -> None:
    """Fills `encoder.whisper` from CTranslate2 variables; layers and positions beyond its own are left out.

    Raises:
        InputError: A variable is missing or has another shape.
    """
    whisper = encoder.whisper
    positions, width = whisper.embed_positions.weight.shape
    state: dict[str, Tensor] = {}
    try:
        for name in ("conv1", "conv2"):
            state |= {f"{name}.{part}": variables[f"encoder/{name}/{part}"] for part in ("weight", "bias")}
        state["embed_positions.weight"] = variables["encoder/position_encodings/encodings"][:positions]
        for index in range(len(whisper.layers)):
            theirs, ours = f"encoder/layer_{index}", f"layers.{index}"
            for a, b in (("ffn/layer_norm", "final_layer_norm"), ("self_attention/layer_norm", "self_attn_layer_norm")):
                state[f"{ours}.{b}.weight"] = variables[f"{theirs}/{a}/gamma"]
                state[f"{ours}.{b}.bias"] = variables[f"{theirs}/{a}/beta"]
            linear = {"ffn/linear_0": "fc1", "ffn/linear_1": "fc2", "self_attention/linear_1": "self_attn.out_proj"}
            for a, b in linear.items():
                state |= {f"{ours}.{b}.{part}": variables[f"{theirs}/{a}/{part}"] for part in ("weight", "bias")}
            for part in ("weight", "bias"):
                fused = variables[f"{theirs}/self_attention/linear_0/{part}"].split(width)
                for name, value in zip("qkv", fused, strict=True):
                    if not (name == "k" and part == "bias"):  # Whisper's keys have no bias; theirs is zero
                        state[f"{ours}.self_attn.{name}_proj.{part}"] = value
        whisper.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"The Whisper model does not fit the encoder: {error}.") from None
