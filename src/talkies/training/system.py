"""What is trained: the transformer, optionally with its text encoder, and which of their parameters move."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.training.batches import Batch
from talkies.training.config import Recipe
from talkies.training.initialise import attend_nearby

if TYPE_CHECKING:
    from transformers import UMT5EncoderModel

# the adapter, the audio cross-attention and the norm before it: what the paper trains (supplement 2.1)
AUDIO_PARAMETERS = re.compile(r"(^|\.)(audio_projector|audio_attn|norm_audio)\.")
TIMESTEPS = 1000.0


class TrainingSystem(nn.Module):
    """Everything with parameters in one forward pass, so that sharding and saving see one module.

    Args:
        transformer: The video transformer.
        text_encoder: Trained or frozen along with it, when samples hold token ids.
    """

    def __init__(self, transformer: MultiTalkTransformer3DModel, text_encoder: UMT5EncoderModel | None = None) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder

    def forward(self, batch: Batch, audio: Tensor | None = None) -> Tensor:
        """The network's output `[B, z, T, h, w]`.

        Args:
            batch: What to denoise, and the conditions.
            audio: Replaces the batch's audio windows (the validation probe).
        """
        return self.transformer(
            hidden_states=batch.hidden_states(),
            timestep=batch.sigma * TIMESTEPS,
            encoder_hidden_states=self.embed_prompt(batch.prompt),
            encoder_hidden_states_image=batch.image_embeds,
            audio_hidden_states=batch.audio if audio is None else audio,
            person_masks=batch.person_masks,
            text_masks=batch.text_masks,
            return_dict=False,
        )[0]

    def embed_prompt(self, prompt: Tensor) -> Tensor:
        """Embeddings `[..., L, D]`; of ids `[..., L]` by the text encoder, zero behind the text as Wan's pipeline."""
        if prompt.dtype != torch.int64:
            return prompt
        if prompt.ndim > 2:
            return self.embed_prompt(prompt.flatten(0, 1)).unflatten(0, prompt.shape[:2])
        if self.text_encoder is None:
            raise InputError("The samples hold prompt_ids, but the recipe has no `text_encoder`.")
        mask = (prompt != 0).long()
        hidden = self.text_encoder(input_ids=prompt, attention_mask=mask).last_hidden_state
        return hidden * mask[..., None].to(hidden.dtype)


def build_system(recipe: Recipe) -> TrainingSystem:
    """Builds or opens the networks and marks what is trained (`requires_grad`).

    Frozen parameters are stored in bf16 where the run computes in it (but for norms and their like, as in diffusers);
    trained ones always in fp32.

    Raises:
        InputError: A path or a configuration cannot be used.
        MissingDependencyError: LoRA without peft.
    """
    torch.manual_seed(recipe.seed)
    transformer = _build_transformer(recipe)
    text_encoder = _build_text_encoder(recipe)
    system = TrainingSystem(transformer, text_encoder)
    system.requires_grad_(recipe.train == "all")
    if recipe.train == "audio":
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(AUDIO_PARAMETERS.search(name) is not None)
    elif recipe.train == "lora":
        add_lora(transformer, recipe)
    if text_encoder is not None and recipe.text_encoder is not None:
        text_encoder.requires_grad_(recipe.text_encoder.train)
    if recipe.model.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    frozen = torch.bfloat16 if recipe.machine.bf16 else torch.float32
    for name, parameter in system.named_parameters():
        precise = parameter.requires_grad or any(part in name for part in transformer._keep_in_fp32_modules)
        dtype = torch.float32 if precise else frozen
        if parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)
    return system.train()


def trained_parameters(system: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that move, by name, in the module's order."""
    return {name: value for name, value in system.named_parameters() if value.requires_grad}


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder.

    Raises:
        InputError: Missing, or no JSON mapping.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is no model folder: {error}.", "Give the folder that holds config.json.") from None
    if not isinstance(values, dict):
        raise InputError(f"{folder / 'config.json'} is no mapping.")
    return values


def _build_transformer(recipe: Recipe) -> MultiTalkTransformer3DModel:
    section = recipe.model
    # what is frozen is kept in bf16 in any case; a large model is better read so
    dtype = torch.bfloat16 if recipe.train != "all" and recipe.machine.bf16 else torch.float32
    try:
        if section.path is not None:
            opened = MultiTalkTransformer3DModel.from_pretrained(section.path, torch_dtype=dtype)
            return _changed(opened, section.config) if section.config else opened
        model = MultiTalkTransformer3DModel(**(section.config or {}))
        if section.local_attention:
            attend_nearby(model, section.local_attention)
        return model
    except InputError:
        raise
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise InputError(f"The model of the recipe cannot be built: {' '.join(str(error).split())[:300]}.") from None


def _changed(opened: MultiTalkTransformer3DModel, changes: dict[str, Any]) -> MultiTalkTransformer3DModel:
    """The same network with some of its configuration changed; parts it did not have begin as in a new one.

    Raises:
        InputError: A changed network has no place for what was opened.
    """
    known = {name: value for name, value in opened.config.items() if not name.startswith("_")}
    model = MultiTalkTransformer3DModel(**{**known, **changes})
    try:
        left_over = model.load_state_dict(opened.state_dict(), strict=False).unexpected_keys
    except RuntimeError as error:
        raise InputError(
            f"`model.config` does not go with `model.path`: {str(error).splitlines()[-1].strip()}"
        ) from None
    if left_over:
        raise InputError(f"`model.config` has no place for {left_over[0]} of `model.path`.")
    return model


def _build_text_encoder(recipe: Recipe) -> UMT5EncoderModel | None:
    section = recipe.text_encoder
    if section is None:
        return None
    from transformers import UMT5Config, UMT5EncoderModel

    try:
        if section.path is not None:
            return UMT5EncoderModel.from_pretrained(section.path, torch_dtype=torch.float32, use_safetensors=True)
        return UMT5EncoderModel(UMT5Config(**(section.config or {})))
    except (OSError, TypeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"The text encoder of the recipe cannot be built: {text}.") from None


def add_lora(transformer: MultiTalkTransformer3DModel, recipe: Recipe) -> None:
    """Adds low-rank adapters; only they are trained.

    Raises:
        MissingDependencyError: peft is not installed.
        InputError: No layer has a target's name.
    """
    from talkies.domain.errors import MissingDependencyError

    try:
        from peft import LoraConfig
    except ImportError:
        raise MissingDependencyError("LoRA needs peft.", "pip install 'talkies[train]'") from None
    section = recipe.lora
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        target_modules=list(section.targets),
        init_lora_weights=True,
    )
    try:
        transformer.add_adapter(config)
    except ValueError as error:
        raise InputError(f"LoRA: {error}.", "Check `lora.targets`.") from None


def full_weights(system: nn.Module) -> dict[str, Tensor]:
    """All parameters in bf16 on the CPU; sharded ones are gathered, so every process must call this."""
    found = {}
    for name, value in system.named_parameters():
        whole = getattr(value.detach(), "full_tensor", None)
        found[name] = (value.detach() if whole is None else whole()).to("cpu", torch.bfloat16)
    return found


def save_model(system: TrainingSystem, weights: dict[str, Tensor], folder: Path) -> None:
    """Writes the networks in diffusers layout: `transformer/` and `text_encoder/`, or the LoRA alone.

    Args:
        system: Whose configurations are written.
        weights: From `full_weights`.
        folder: Created if missing.
    """
    from huggingface_hub import save_torch_state_dict

    transformer, text_encoder = system.transformer, system.text_encoder
    weights_of = {
        part: {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
        for part in ("transformer", "text_encoder")
    }
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(transformer, "peft_config"):
        from diffusers.loaders import WanLoraLoaderMixin
        from peft import get_peft_model_state_dict

        layers = get_peft_model_state_dict(transformer, weights_of["transformer"], adapter_name="default")
        metadata = transformer.peft_config["default"].to_dict()
        WanLoraLoaderMixin.save_lora_weights(
            folder / "lora", transformer_lora_layers=layers, transformer_lora_adapter_metadata=metadata
        )
    else:
        transformer.save_config(folder / "transformer")
        save_torch_state_dict(
            weights_of["transformer"],
            folder / "transformer",
            filename_pattern="diffusion_pytorch_model{suffix}.safetensors",
            max_shard_size="10GB",
        )
    if text_encoder is not None:
        text_encoder.config.save_pretrained(folder / "text_encoder")
        save_torch_state_dict(
            weights_of["text_encoder"], folder / "text_encoder", filename_pattern="model{suffix}.safetensors"
        )
