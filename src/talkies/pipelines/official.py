"""The 14B model put together from its public parts: Wan2.1's image-to-video folder, MultiTalk's file, a wav2vec2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, UMT5EncoderModel

from talkies.checkpoints.open import open_transformer
from talkies.domain.errors import InputError
from talkies.models.audio_encoder import Wav2Vec2SpeechEncoder


def official_parts(
    wan: str | Path, multitalk: str | Path, wav2vec2: str | Path, dtype: torch.dtype = torch.bfloat16
) -> dict[str, Any]:
    """All parts of a ``MultiTalkPipeline``.

    Args:
        wan: Wan2.1-I2V-14B-480P in diffusers' layout: a folder, or its id on the Hub.
        multitalk: MultiTalk's file, a folder with it, or a Hub id.
        wav2vec2: A wav2vec2 folder in transformers' layout (chinese-wav2vec2-base for the published weights).
        dtype: Of the transformer and the encoders of text and image; autoencoder and audio encoder are float32.

    Raises:
        InputError: A part is missing, damaged, or not in safetensors.
    """
    transformer = open_transformer(wan, multitalk, dtype)
    try:
        audio_encoder = Wav2Vec2SpeechEncoder.from_pretrained(wav2vec2, torch_dtype=torch.float32, use_safetensors=True)
        parts = {
            "tokenizer": AutoTokenizer.from_pretrained(wan, subfolder="tokenizer"),
            "text_encoder": UMT5EncoderModel.from_pretrained(
                wan, subfolder="text_encoder", torch_dtype=dtype, use_safetensors=True
            ),
            "image_encoder": CLIPVisionModel.from_pretrained(
                wan, subfolder="image_encoder", torch_dtype=dtype, use_safetensors=True
            ),
            "image_processor": CLIPImageProcessor.from_pretrained(wan, subfolder="image_processor"),
            "vae": AutoencoderKLWan.from_pretrained(
                wan, subfolder="vae", torch_dtype=torch.float32, use_safetensors=True
            ),
        }
    except (OSError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"A part of the 14B model cannot be read: {text}", "talkies models verify") from None
    layers = transformer.config.audio_blocks
    if audio_encoder.blocks != layers:
        raise InputError(
            f"{wav2vec2} has {audio_encoder.blocks} layers, the transformer listens to {layers}.",
            "Use a wav2vec2 of the base size.",
        )
    # Wan's folder brings UniPC; MultiTalk samples with Euler steps on its own shifted schedule.
    return {
        **parts,
        "audio_encoder": audio_encoder.eval(),
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }
