"""What a run is conditioned on beside its frames: prompts, voices, regions and image tokens, each encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.domain.errors import InputError
from talkies.models.motion_latents import liveliness_map
from talkies.pipelines.inputs import GenerationPlan, GenerationRequest, listen, load_masks
from talkies.pipelines.prediction import Conditions, Directed
from talkies.pipelines.prompts import SegmentTexts, apart, clean_prompt, segment_texts
from talkies.pipelines.settings import GenerationSettings


class ConditionEncoding:
    """The part of the pipeline that encodes; it finds the encoders where ``DiffusionPipeline`` keeps them."""

    tokenizer: Any
    text_encoder: Any
    image_encoder: Any
    image_processor: Any
    audio_encoder: Any
    transformer: Any
    _execution_device: torch.device

    def encode_conditions(
        self,
        request: GenerationRequest,
        plan: GenerationPlan,
        settings: GenerationSettings,
        reference: Tensor,
        latent: tuple[int, int],
        liveliness: Tensor | None = None,
    ) -> Conditions:
        """Everything that is encoded once per run; ``liveliness [B, P]`` for networks that are told."""
        dtype = self.transformer.dtype
        device = reference.device
        masks = load_masks(request, plan.batch, plan.people, plan.size, latent)
        image = None
        if self.transformer.config.image_dim is not None:
            image = request.image_embeds if request.image_embeds is not None else self.encode_image(reference)
            image = image.to(device, dtype).expand(plan.batch, -1, -1)
        guiders = [plan.sampling.guider(), *([settings.cue_sampling(plan.size).guider()] if request.cues else [])]
        negative_needed = any(not branch.text for guider in guiders for branch in guider.branches)
        prompt, negative = self._texts(request, settings, plan.batch, negative_needed)
        last = plan.segments.segments[-1]
        # The windows of the last frame look ahead, beyond the video: at silence.
        frames = last.start + last.num_frames + self.transformer.config.audio_window // 2
        return Conditions(
            prompt.to(device, dtype),
            None if negative is None else negative.to(device, dtype),
            image,
            None if masks is None else masks.to(device),
            listen(request, plan.batch, self.audio_encoder).tracks(self.audio_encoder, frames),
            self._directed(request, plan, settings, masks),
            None if liveliness is None else liveliness_map(liveliness, masks, latent),
        )

    def _directed(
        self, request: GenerationRequest, plan: GenerationPlan, settings: GenerationSettings, masks: Tensor | None
    ) -> dict[int, Directed]:
        """Prompts of segments in which not everybody reads the prompt alone, on the CPU; ``masks [B, P + 1, h, w]``."""
        own: dict[int, tuple[str, ...]] = {}
        if settings.own_words and masks is not None and request.prompt is not None and request.prompt_embeds is None:
            own = apart(request.prompt, _from_left(masks))
        if not request.cues and not own:
            return {}
        if request.prompt is None:
            raise InputError("Cues join a prompt in words, but there are only embeddings.", "Give prompt, too.")
        odd = {cue.person for cue in request.cues if cue.person is not None and not 0 <= cue.person < plan.people}
        if odd:
            raise InputError(f"A cue is for person {min(odd)}; there are {plan.people}, counted from 0.")
        known: dict[tuple[str, ...], Tensor] = {}

        def encoded(words: tuple[str, ...]) -> Tensor:
            if words not in known:
                states = self.encode_prompt(words, settings.max_sequence_length).expand(plan.batch, -1, -1)
                known[words] = states.to("cpu", self.transformer.dtype)
            return known[words]

        def directed(texts: SegmentTexts) -> Directed:
            everybody = encoded(texts.everybody)
            if not texts.own or masks is None:
                return Directed(everybody)
            regions = torch.stack([masks[:, person] for person in texts.own], dim=1)  # [B, C - 1, h, w]
            rest = 1 - regions.amax(dim=1, keepdim=True)
            prompts = torch.stack([*(encoded(words) for words in texts.own.values()), everybody], dim=1)
            return Directed(prompts, torch.cat([regions, rest], dim=1).cpu())

        by_segment = segment_texts(
            request.prompt,
            request.cues,
            plan.segments.segments,
            plan.people,
            own,
            self._fits(settings.max_sequence_length),
        )
        # a long film has many segments and few texts
        made = {key: directed(texts) for key, texts in {texts.key: texts for texts in by_segment.values()}.items()}
        return {index: made[texts.key] for index, texts in by_segment.items()}

    def _texts(
        self, request: GenerationRequest, settings: GenerationSettings, batch: int, negative_needed: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Embeddings of prompt and negative prompt, ``[B, L, D]`` each."""

        def embeddings(ready: Tensor | None, text: str | Sequence[str] | None, what: str) -> Tensor:
            if ready is not None:
                return ready.expand(batch, -1, -1)
            if text is None:
                raise InputError(f"There is no {what}.", f"Give {what} or {what}_embeds.")
            texts = [text] if isinstance(text, str) else list(text)
            return self.encode_prompt(texts, settings.max_sequence_length).expand(batch, -1, -1)

        prompt = embeddings(request.prompt_embeds, request.prompt, "prompt")
        if not negative_needed:
            return prompt, None
        text = settings.negative_prompt if request.negative_prompt is None else request.negative_prompt
        return prompt, embeddings(request.negative_prompt_embeds, text, "negative_prompt")

    def encode_prompt(self, prompt: Sequence[str], max_sequence_length: int) -> Tensor:
        """Text features, zero behind the text as in Wan: ``[len(prompt), max_sequence_length, D]``.

        Raises:
            InputError: The pipeline has no text encoder.
        """
        self._require("tokenizer", "text_encoder")
        inputs = self.tokenizer(
            [clean_prompt(text) for text in prompt],
            padding="max_length",
            max_length=max_sequence_length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        device = self._execution_device
        mask = inputs.attention_mask.to(device)
        hidden = self.text_encoder(inputs.input_ids.to(device), mask).last_hidden_state  # [B, L, D]
        return hidden * mask[..., None].to(hidden.dtype)

    def _fits(self, max_sequence_length: int) -> Callable[[str], bool]:
        """Whether the tokenizer reads a text to its end."""
        self._require("tokenizer")

        def fits(text: str) -> bool:  # one token more tells, and a tokenizer that cuts does not warn
            ids = self.tokenizer(clean_prompt(text), truncation=True, max_length=max_sequence_length + 1).input_ids
            return len(ids) <= max_sequence_length

        return fits

    def encode_image(self, frames: Tensor) -> Tensor:
        """Image tokens of whole frames, squeezed to the encoder's square as Wan does (nothing is cropped away).

        Args:
            frames: ``[B, 3, H, W]`` in [-1, 1].

        Returns:
            The image encoder's second to last hidden states, ``[B, I, D]``.

        Raises:
            InputError: The pipeline has no image encoder.
        """
        self._require("image_encoder", "image_processor")
        side = self.image_encoder.config.image_size
        device = self._execution_device
        pixels = F.interpolate(frames.to(device, torch.float32), (side, side), mode="bicubic", align_corners=False)
        mean = torch.tensor(self.image_processor.image_mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self.image_processor.image_std, device=device).view(1, 3, 1, 1)
        pixels = ((pixels + 1) / 2 - mean) / std
        output = self.image_encoder(pixel_values=pixels.to(self.image_encoder.dtype), output_hidden_states=True)
        return output.hidden_states[-2].to(self.transformer.dtype)

    def _require(self, *parts: str) -> None:
        missing = [part for part in parts if getattr(self, part) is None]
        if missing:
            raise InputError(f"This pipeline has no {' and no '.join(missing)}.", "Load them, or pass embeddings.")


def _from_left(masks: Tensor) -> list[int]:
    """The people of ``masks [B, P + 1, h, w]`` as they stand from left to right in the first picture."""
    across = masks[0, :-1].float().sum(dim=1)  # [P, w]
    centre = (across * torch.arange(across.shape[1], device=across.device)).sum(1) / across.sum(1).clamp(min=1)
    return [int(person) for person in centre.argsort(stable=True)]
