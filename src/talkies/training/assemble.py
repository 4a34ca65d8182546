"""Puts trained parts together as a model folder in diffusers layout.

    talkies nano freeze runs/recipes/codec.yaml FOLDER
    talkies nano average RUN/export/transformer OTHER/export/transformer --output FOLDER
    talkies nano assemble runs/recipes/model.yaml

The first freezes a codec: averaged weights, and the statistics by which latents and reference features are normalised.
The second takes the mean of transformers of which one went on from the other (model soups, Wortsman et al. 2022, arXiv
2203.05482). The third gathers codec, speech encoder, tokenizer, transformer and text encoder into one pipeline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from talkies.domain.errors import InputError
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FLOW_UNIT, FRAMES, MOTION_CHANNELS, PLACES
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.training.codec import CodecRecipe, CodecTrainer
from talkies.training.composite_batches import collate
from talkies.training.composites import FACE_LENGTH, Composer

#: Faces are painted; of the components, in their spread, only what is large is kept: the rest are smudges where hair
#: moves before a bright ground. In pixels of flow, 8 steps leave up to 0.3 on still grounds. With five frames of
#: smoothing, consecutive frames of a photograph that talks differed by 0.23 grey levels within a latent frame and 0.36
#: between two; without all this by 0.81 and 1.25 (the first version, with a coring of 0.12).
CORING, FLOW_CORING, FLOW_SMOOTHING = 2.0, 0.15, 5
FLOW_KNEE = 2.0  # spreads: talking heads stay below it
#: Lips re-made from their labels open 0.80 as far as in the film (`benchmarks/codec.py --lips 24`), and the video
#: model's own are a little smaller than true ones: on four films of the fifth version a face mesh saw an amplitude of
#: 0.69 at a gain of 1.25, and on true films 0.76.
LIP_GAIN = 1.45


class ModelRecipe(BaseModel):
    """Where the parts are, and how the model generates by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: Path
    audio_encoder: Path
    tokenizer: Path
    transformer: Path
    text_encoder: Path
    output: Path
    generation: dict[str, Any]


def average_transformers(folders: Sequence[Path], output: Path) -> None:
    """The mean of several transformers' weights, in their precision.

    Raises:
        InputError: They are fewer than two, one is no transformer in one file, or they are not of one configuration.
    """
    if len(folders) < 2:
        raise InputError("One transformer has no mean with others.", "Name two or more folders.")
    for path in (folder / name for folder in folders for name in ("config.json", SAFETENSORS_WEIGHTS_NAME)):
        if not path.is_file():
            raise InputError(f"There is no {path}.", "Name folders like RUN/export/transformer.")
    configs = [MultiTalkTransformer3DModel.load_config(folder) for folder in folders]
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        wrong = sorted(k for k, v in configs[0].items() if not k.startswith("_") and config.get(k) != v)
        if wrong:
            raise InputError(
                f"{folder} has another {', '.join(wrong)} than {folders[0]}.", "Average runs of one recipe."
            )
    parts = [load_file(folder / SAFETENSORS_WEIGHTS_NAME) for folder in folders]
    mean = {
        name: torch.stack([part[name].float() for part in parts]).mean(0).to(weights.dtype)
        for name, weights in parts[0].items()
    }
    output.mkdir(parents=True, exist_ok=True)
    save_file(mean, output / SAFETENSORS_WEIGHTS_NAME, {"format": "pt"})
    config = {k: v for k, v in configs[0].items() if k != "_name_or_path"}
    (output / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.no_grad()
def freeze_codec(recipe: CodecRecipe, folder: Path, like: Path | None = None, draws: int = 64) -> AutoencoderReference:
    """The averaged codec with its statistics, saved to `folder`.

    Latents are normalised by their spread at faces, where all that matters happens: elsewhere they hardly move, and a
    spread over everything would drown lips in the noise of the generator. All components of the basis share one spread,
    that of the first eight: so they keep their proportions, and an error counts as it shows in the picture.

    Args:
        recipe: The run.
        folder: Where it goes.
        like: An earlier freeze of the run: its statistics are kept, since caches were made by them.
        draws: Batches of eight composites for the statistics.
    """
    trainer = CodecTrainer(recipe)
    codec = trainer.evaluation_model()
    if like is not None:
        config = AutoencoderReference.load_config(like)
        return _save(codec, config["latents_std"], config.get("flow_knee"), folder)
    composer, rng = Composer(trainer.training, recipe.crop), np.random.default_rng(5)
    latents = []
    for _ in range(draws):
        batch = collate([composer.draw(rng) for _ in range(8)], 3.0, 2.0)
        z = batch.latents(codec).float()  # [8, z, h, w]
        at_face = batch.cell_weight() > 1.5  # [8, h, w]
        latents.append(z.permute(0, 2, 3, 1)[at_face])
    spread = torch.cat(latents).square().mean(0).sqrt()
    spread[:FLOW_CHANNELS] = spread[:FLOW_CHANNELS].mean()
    expression = spread[FLOW_CHANNELS : MOTION_CHANNELS - PLACES].unflatten(0, (FRAMES, EXPRESSIONS))
    expression.copy_(expression.mean(0, keepdim=True).expand_as(expression))
    spread[MOTION_CHANNELS:] = spread[MOTION_CHANNELS : MOTION_CHANNELS + 8].square().mean().sqrt()
    statistics = [round(max(float(v), 1e-3), 5) for v in spread]
    return _save(codec, statistics, round(FLOW_KNEE * statistics[0] * FLOW_UNIT, 4), folder)


def _save(
    codec: AutoencoderReference, spread: list[float], flow_knee: float | None, folder: Path
) -> AutoencoderReference:
    """With its statistics, in bf16; no change is zero, so no mean is taken off."""
    codec.register_to_config(
        latents_mean=[0.0] * len(spread),
        latents_std=spread,
        coring=round(CORING * spread[MOTION_CHANNELS], 4),
        flow_coring=FLOW_CORING,
        flow_smoothing=FLOW_SMOOTHING,
        flow_knee=flow_knee,
        lip_gain=LIP_GAIN,
        face_length=FACE_LENGTH,
    )
    codec.to(torch.bfloat16).save_pretrained(folder)
    return codec


def assemble(recipe: ModelRecipe) -> MultiTalkPipeline:
    """All parts as one pipeline, saved in bf16."""
    pipeline = MultiTalkPipeline(
        tokenizer=PreTrainedTokenizerFast.from_pretrained(recipe.tokenizer),
        text_encoder=UMT5EncoderModel.from_pretrained(recipe.text_encoder, dtype=torch.bfloat16),
        audio_encoder=WhisperSpeechEncoder.from_pretrained(recipe.audio_encoder, torch_dtype=torch.bfloat16),
        vae=AutoencoderReference.from_pretrained(recipe.codec, torch_dtype=torch.bfloat16),
        transformer=MultiTalkTransformer3DModel.from_pretrained(recipe.transformer, torch_dtype=torch.bfloat16),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=recipe.generation.get("flow_shift", 4.0)),
        generation=recipe.generation,
    )
    pipeline.save_pretrained(recipe.output, safe_serialization=True)
    seal(recipe.output)
    return pipeline


def seal(folder: Path) -> None:
    """Takes this machine's paths out of the parts' configurations, and writes `SHA256SUMS`."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    files = sorted(path for kind in ("*.json", "*.safetensors") for path in folder.rglob(kind))
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in files)
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")
