"""A whole pipeline of tiny real parts, of both kinds: Wan's autoencoder with image tokens, and the reference codec."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
    Wav2Vec2Config,
)

from talkies.models.audio_encoder import Wav2Vec2SpeechEncoder
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import MOTION_CHANNELS
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline

GENERATION = {
    "num_inference_steps": 2,
    "flow_shift": 3.0,
    "max_sequence_length": 12,
    "size": 64 * 64,
    "segment_frames": 13,
    "motion_frames": 5,
    "negative_prompt": "bad",
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<unk>", "two", "people", "talk", "a", "dog", "bad", "sing"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def tiny_text_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(vocab_size=16, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def tiny_audio_encoder(layers: int, channels: int) -> Wav2Vec2SpeechEncoder:
    return Wav2Vec2SpeechEncoder(
        Wav2Vec2Config(
            hidden_size=channels,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=8,
            conv_dim=(4,) * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )
    )


def tiny_transformer(
    in_channels: int, out_channels: int, image_dim: int | None, patch: int, audio: tuple[int, int] = (2, 8)
) -> MultiTalkTransformer3DModel:
    return MultiTalkTransformer3DModel(
        patch_size=(1, patch, patch),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=in_channels,
        out_channels=out_channels,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        image_dim=image_dim,
        added_kv_proj_dim=24 if image_dim else None,
        audio_blocks=audio[0],
        audio_channels=audio[1],
        audio_hidden_dim=8,
        audio_output_dim=16,
        audio_context_tokens=2,
    )


def wan_pipeline(audio: tuple[int, int] = (2, 8)) -> MultiTalkPipeline:
    """The 14B model's kinds of parts; `audio` is the layers and channels of its speech encoder."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    pipeline = MultiTalkPipeline(
        tokenizer=tiny_tokenizer(),
        text_encoder=tiny_text_encoder(),
        image_encoder=CLIPVisionModel(vision),
        image_processor=CLIPImageProcessor(size=28, crop_size=28),
        audio_encoder=tiny_audio_encoder(*audio),
        vae=AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        transformer=tiny_transformer(36, 16, 16, 2, audio),
        generation=GENERATION,
    )
    return ready(pipeline)


def reference_pipeline() -> MultiTalkPipeline:
    """The small model's kinds of parts: no image tokens, an autoencoder that sees the reference."""
    torch.manual_seed(0)
    latents = MOTION_CHANNELS + 4
    vae = AutoencoderReference(latent_channels=latents, widths=(8, 8, 8, 16))
    with torch.no_grad():
        for weights in (*vae.parameters(), *vae.buffers()):
            if not weights.any():  # as at the start of training, when nothing moves yet
                weights.normal_(std=0.1)
    pipeline = MultiTalkPipeline(
        tokenizer=tiny_tokenizer(),
        text_encoder=tiny_text_encoder(),
        audio_encoder=tiny_audio_encoder(2, 8),
        vae=vae,
        transformer=tiny_transformer(2 * latents + 4 + vae.reference_channels, latents, None, 1),
        generation={**GENERATION, "text_guidance_scale": 1.0, "audio_guidance_scale": 2.0, "prediction": "sample"},
    )
    return ready(pipeline)


def ready(pipeline: MultiTalkPipeline) -> MultiTalkPipeline:
    pipeline.set_progress_bar_config(disable=True)
    for name in ("text_encoder", "image_encoder", "audio_encoder", "vae", "transformer"):
        part = getattr(pipeline, name)
        if part is not None:
            part.eval().requires_grad_(False)
    return pipeline


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise at speech's level, 16 kHz."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def stripes(people: int, height: int = 48, width: int = 48) -> np.ndarray:
    """One upright stripe of the picture per person, a gap between them: [P, H, W]."""
    masks = np.zeros((people, height, width), dtype=bool)
    for person in range(people):
        masks[person, :, person * width // people : (person + 1) * width // people - 2] = True
    return masks
