"""MultiTalk as a diffusers pipeline: a picture, one voice per person and a prompt become a video of any length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, SchedulerMixin
from diffusers.loaders import WanLoraLoaderMixin
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel

from talkies.bundled import NANO, NANO_FOLDER
from talkies.domain.clip import FrameSize
from talkies.domain.directions import Cue
from talkies.domain.errors import InputError
from talkies.models.audio_encoder import Wav2Vec2SpeechEncoder
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.pipelines.attention import Attention, attentions
from talkies.pipelines.chance import picture_seeds
from talkies.pipelines.conditioning import conditioning_for
from talkies.pipelines.encoding import ConditionEncoding
from talkies.pipelines.eyes import drawn_blinks, drawn_gaze
from talkies.pipelines.fingerprints import fingerprint
from talkies.pipelines.inputs import (
    GenerationPlan,
    GenerationRequest,
    Masks,
    Picture,
    Voices,
    check_liveliness,
    count_pictures,
    listen,
    load_masks,
    load_reference,
    source_size,
)
from talkies.pipelines.liveliness import drawn_liveliness
from talkies.pipelines.official import official_parts
from talkies.pipelines.output import MultiTalkPipelineOutput, Progress, SegmentFrames
from talkies.pipelines.prediction import SegmentPredictor
from talkies.pipelines.prompts import cues_during, network_calls
from talkies.pipelines.settings import GenerationSettings
from talkies.sampling.rollout import HandOver, RenderedSegment, Rollout
from talkies.sampling.rollout_state import RolloutState, RolloutStore, generator_states, restored_generators
from talkies.sampling.segments import Segment, plan_segments
from talkies.sampling.solver import Solver, scheduler_solver

StepCallback = Callable[["MultiTalkPipeline", int, float, dict[str, Tensor]], dict[str, Tensor]]
"""diffusers' ``callback_on_step_end(pipeline, step, timestep, tensors) -> tensors``."""


class MultiTalkPipeline(ConditionEncoding, DiffusionPipeline, WanLoraLoaderMixin):
    """Turns a picture of people, one voice per person and a prompt into a video in which they talk to each other.

    Args:
        tokenizer, text_encoder: The prompt's (umT5). Without them pass ``prompt_embeds``.
        image_encoder, image_processor: CLIP vision, for transformers with image tokens.
        audio_encoder: A ``SpeechEncoder``.
        vae: ``AutoencoderKLWan`` or ``AutoencoderReference``.
        transformer: ``MultiTalkTransformer3DModel``.
        scheduler: Any flow-matching scheduler; None is Euler's method, the paper's.
        generation: This model's defaults, see ``GenerationSettings``; saved in ``model_index.json``.
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->transformer->vae"
    # Not run through forward, which is where offloading would bring it to the device; and small.
    _exclude_from_cpu_offload = ["audio_encoder"]  # noqa: RUF012
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012
    _optional_components = [  # noqa: RUF012
        "tokenizer",
        "text_encoder",
        "image_encoder",
        "image_processor",
        "audio_encoder",
        "vae",
        "transformer",
        "scheduler",
    ]

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        text_encoder: UMT5EncoderModel | None = None,
        image_encoder: CLIPVisionModel | None = None,
        image_processor: CLIPImageProcessor | None = None,
        audio_encoder: Wav2Vec2SpeechEncoder | WhisperSpeechEncoder | None = None,
        vae: AutoencoderKLWan | AutoencoderReference | None = None,
        transformer: MultiTalkTransformer3DModel | None = None,
        scheduler: SchedulerMixin | None = None,
        generation: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        GenerationSettings.from_config(generation)  # refuse unknown names now, not in the middle of a run
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            image_processor=image_processor,
            audio_encoder=audio_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.register_to_config(generation=generation)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> MultiTalkPipeline:
        """Loads a folder in diffusers' layout, a model of the Hub, or ``nano``; arguments as in ``DiffusionPipeline``.

        Weights are read from safetensors only. A single ``dtype`` (or ``torch_dtype``) is for the transformer and the
        encoders of text and image; autoencoder and audio encoder stay in float32. A dict of types is taken as it is.
        """
        older = kwargs.pop("torch_dtype", None)
        dtype = kwargs.pop("dtype", older)
        if isinstance(dtype, torch.dtype):
            dtype = {"default": dtype, "vae": torch.float32, "audio_encoder": torch.float32}
        options = {**kwargs, "dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
        source = NANO_FOLDER if str(pretrained_model_name_or_path) == NANO else pretrained_model_name_or_path
        return super().from_pretrained(source, **options)

    @classmethod
    def from_official(
        cls, wan: str | Path, multitalk: str | Path, wav2vec2: str | Path, torch_dtype: torch.dtype = torch.bfloat16
    ) -> MultiTalkPipeline:
        """The 14B model from its public parts; ``save_pretrained`` makes one folder of them.

        Args:
            wan: Wan2.1-I2V-14B-480P in diffusers' layout.
            multitalk: MultiTalk's file (``multitalk.safetensors``), or a folder with it.
            wav2vec2: A wav2vec2-base folder in transformers' layout.
            torch_dtype: Of transformer, text and image encoder.

        Raises:
            InputError: A part is missing, damaged, or not in safetensors.
        """
        return cls(**official_parts(wan, multitalk, wav2vec2, torch_dtype))

    @property
    def defaults(self) -> GenerationSettings:
        """The model's own settings."""
        return GenerationSettings.from_config(self.config.generation)

    @property
    def size_multiple(self) -> int:
        """Both sides of a video are multiples of this."""
        return int(self.vae.config.scale_factor_spatial * max(self.transformer.config.patch_size[1:]))

    def plan(self, request: GenerationRequest) -> GenerationPlan:
        """What ``request`` will do: size, segments, steps. Runs no network.

        Raises:
            InputError: The request cannot be done.
        """
        self._require("vae", "transformer")
        settings = request.settings or self.defaults
        batch = self._batch_size(request)
        voiced = listen(request, batch, self.audio_encoder)
        settings.check_told(self.defaults)
        check_liveliness(request.liveliness, settings, voiced.people)
        if request.size is not None:
            size = request.size.require_multiple(self.size_multiple)
        else:
            source = source_size(request)
            size = settings.frame_size(source.width, source.height, self.size_multiple, voiced.people)
        segments = plan_segments(voiced.num_frames, settings.segment_frames, settings.motion_frames)
        sampling = settings.sampling(size)
        passes = network_calls(settings, size, segments.segments, request.cues)
        return GenerationPlan(size, segments, voiced.people, batch, sampling, passes)

    @torch.no_grad()
    def __call__(
        self,
        image: Picture | Sequence[Picture] | Tensor,
        audio: Voices | Sequence[Voices] | None = None,
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        person_masks: Masks | None = None,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        text_guidance_scale: float | None = None,
        audio_guidance_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        audio_embeds: Sequence[Tensor] | Sequence[Sequence[Tensor]] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        settings: GenerationSettings | None = None,
        cues: Sequence[Cue] = (),
        liveliness: Sequence[float | None] = (),
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> MultiTalkPipelineOutput | tuple[Any]:
        """Generates a whole video and holds it in memory; ``stream`` does not.

        Args:
            image: The reference picture, its people in the regions ``person_masks`` say.
            audio: One waveform per person, mono, at the audio encoder's rate (16 kHz), -23 LUFS; None: silent.
            prompt: What happens.
            negative_prompt: What must not.
            person_masks: ``[P, H, W]``, of the picture's size or the video's; needed from two people on.
            height, width: Of the video, multiples of ``size_multiple``; give both or none.
            num_frames: Length; None takes the longest voice's, 25 frames a second.
            num_inference_steps, text_guidance_scale, audio_guidance_scale: Override the settings'.
            generator: CPU generator, or one per sample of a batch.
            audio_embeds, prompt_embeds, negative_prompt_embeds, image_embeds: See ``GenerationRequest``.
            settings: Everything else; None takes the model's defaults.
            cues: Words that join the prompt for parts of the video.
            liveliness: How much each person moves, 0.4 to 2; None for what the settings say.
            output_type: "pil", "np", "pt" or "latent", see ``MultiTalkPipelineOutput``.
            return_dict: False returns a tuple.
            callback_on_step_end: Called after every step with the step's number over the whole run.
            callback_on_step_end_tensor_inputs: Tensors it is given; "latents" is the only one.

        Raises:
            InputError: Something given cannot be used.
            NumericalError: A NaN or infinity appeared; names segment and step.
        """
        if output_type not in ("pil", "np", "pt", "latent"):
            raise InputError(f"output_type {output_type!r} is unknown.", "Use pil, np, pt or latent.")
        if set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs):
            raise InputError(f"callback tensors can only be {self._callback_tensor_inputs}.")
        if (height is None) != (width is None):
            raise InputError("Give both height and width, or none.")
        overrides = {
            "num_inference_steps": num_inference_steps,
            "text_guidance_scale": text_guidance_scale,
            "audio_guidance_scale": audio_guidance_scale,
        }
        request = GenerationRequest(
            image=image,
            audio=audio,
            audio_embeds=audio_embeds,
            prompt=prompt,
            negative_prompt=negative_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            image_embeds=image_embeds,
            person_masks=person_masks,
            num_frames=num_frames,
            size=None if height is None or width is None else FrameSize(width, height),
            generator=generator,
            settings=(settings or self.defaults).replace(overrides),
            cues=cues,
            liveliness=liveliness,
        )
        plan = self.plan(request)
        generators = self._generators(request, plan.batch)
        rendered = list(self._render(request, plan, generators, callback=callback_on_step_end))
        self.maybe_free_model_hooks()
        if output_type == "latent":
            frames: Any = [segment.latents for segment in rendered]
        else:
            video = torch.cat([segment.frames for segment in rendered], dim=2)  # [B, 3, F, H, W]
            frames = _convert(video, output_type)
        return MultiTalkPipelineOutput(frames=frames) if return_dict else (frames,)

    @torch.no_grad()
    def stream(
        self,
        request: GenerationRequest,
        on_progress: Callable[[Progress], None] | None = None,
        state_folder: Path | None = None,
        resume: bool = False,
    ) -> Iterator[SegmentFrames]:
        """Generates a video segment by segment; memory does not depend on its length.

        A segment counts as finished, and its state is written, when the next one is asked for: a run that is killed
        while its caller still writes frames renders that segment again. Callers that keep frames per segment index
        therefore end with the bytes of an undisturbed run.

        Args:
            request: What to generate.
            on_progress: Called after every denoising step.
            state_folder: Where the state of the run is kept; None keeps none.
            resume: Goes on from the state in the folder, if there is one; else it is removed first.

        Yields:
            The frames each segment adds, in order, from the first unfinished one.

        Raises:
            InputError: Something given cannot be used, or the state belongs to another run.
            NumericalError: A NaN or infinity appeared; names segment and step.
        """
        request = dataclasses.replace(request, settings=request.settings or self.defaults)
        plan = self.plan(request)
        generators = self._generators(request, plan.batch)
        store = state = None
        if state_folder is not None:
            store = RolloutStore(state_folder, fingerprint(request, plan, self.transformer, self.vae))
            if not resume:
                store.clear()
            state = store.load()
        first, hand_over = 0, None
        if state is not None:
            first, hand_over = state.next_segment, state.hand_over
            generators = restored_generators(state.generators)
        for rendered in self._render(request, plan, generators, first, hand_over, on_progress):
            yield SegmentFrames(
                rendered.segment.index,
                len(plan.segments.segments),
                rendered.segment.first_kept,
                _to_uint8(rendered.frames),
            )
            if store is not None:
                states = generator_states(generators)
                store.save(RolloutState(rendered.segment.index + 1, rendered.hand_over, states))
        self.maybe_free_model_hooks()

    def _render(
        self,
        request: GenerationRequest,
        plan: GenerationPlan,
        generators: list[torch.Generator],
        first: int = 0,
        hand_over: HandOver | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        callback: StepCallback | None = None,
    ) -> Iterator[RenderedSegment]:
        settings = request.settings or self.defaults
        reference = load_reference(request, plan.batch, plan.size)
        seeds = picture_seeds(generators, reference)
        blinks = drawn_blinks(seeds, settings.blinks_per_minute)
        gaze = drawn_gaze(seeds, settings.gaze_scale, self._attentions(request, plan) if settings.gaze_scale else None)
        liveliness = drawn_liveliness(seeds, settings.liveliness, request.liveliness, plan.people)
        conditioning = conditioning_for(self.vae, reference, self._execution_device, blinks, gaze)
        conditions = self.encode_conditions(
            request, plan, settings, conditioning.reference, conditioning.latent_shape(1)[2:], liveliness
        )

        def make_solver() -> Solver:
            if self.scheduler is None:
                return plan.sampling.solver()
            return scheduler_solver(self.scheduler, plan.sampling.steps, plan.sampling.shift, generators[0])

        voiced = self.transformer.config.unseen_channels
        plain, cued = (part.guider(voiced) for part in (plan.sampling, settings.cue_sampling(plan.size)))
        levels = make_solver().levels
        steps, segments = len(levels) - 1, len(plan.segments.segments)
        with self.progress_bar(total=steps * segments) as bar:
            bar.update(steps * first)

            def step_done(segment: Segment, step: int, latents: Tensor) -> Tensor:
                done = segment.index * steps + step + 1
                bar.update()
                if on_progress is not None:
                    on_progress(Progress(segment.index, segments, step, steps, done, steps * segments))
                if callback is not None:
                    changed = callback(self, done - 1, float(levels[step]), {"latents": latents})
                    latents = (changed or {}).get("latents", latents)
                return latents

            rollout = Rollout(
                plan.segments,
                conditioning,
                SegmentPredictor(
                    self.transformer,
                    conditions,
                    settings.prediction,
                    self.encode_image if settings.image_tokens == "previous" else None,
                    settings.clip_sample,
                ),
                make_solver,
                [cued if cues_during(segment, request.cues) else plain for segment in plan.segments.segments],
                generators,
                settings.rollout(),
                step_done,
            )
            yield from rollout.run(first, hand_over)

    def _attentions(self, request: GenerationRequest, plan: GenerationPlan) -> list[Attention] | None:
        """Who looks at whom, where there are several people and their voices can be heard."""
        voiced = listen(request, plan.batch, self.audio_encoder)
        if voiced.encoded or plan.people == 1:
            return None
        masks = load_masks(request, plan.batch, plan.people, plan.size, (plan.size.height, plan.size.width))
        rate, frames = self.audio_encoder.sampling_rate, voiced.num_frames
        return attentions(voiced.samples, rate, frames, masks)

    def _batch_size(self, request: GenerationRequest) -> int:
        counts = {
            "pictures": count_pictures(request),
            "prompts": 1 if request.prompt is None or isinstance(request.prompt, str) else len(request.prompt),
            "prompt_embeds": 1 if request.prompt_embeds is None else len(request.prompt_embeds),
        }
        for given in (request.audio, request.audio_embeds):
            if given is not None and len(given) and isinstance(given[0], (list, tuple)):
                counts["audio"] = len(given)
        batch = max(counts.values())
        odd = {name: count for name, count in counts.items() if count not in (1, batch)}
        if odd or min(counts.values()) < 1:
            raise InputError(f"The batch does not fit together: {counts}.", "Give one of a thing, or one per sample.")
        return batch

    def _generators(self, request: GenerationRequest, batch: int) -> list[torch.Generator]:
        given = request.generator
        if given is None:
            given = torch.Generator(device="cpu")
            given.seed()  # from the system's entropy
        generators = [given] if isinstance(given, torch.Generator) else list(given)
        if len(generators) not in (1, batch):
            raise InputError(
                f"{len(generators)} generators were given for a batch of {batch}.", "Give one, or one each."
            )
        if any(generator.device.type != "cpu" for generator in generators):
            raise InputError(
                "A generator lives on another device.", "Use torch.Generator('cpu'): equal noise anywhere."
            )
        return generators


def _to_uint8(frames: Tensor) -> NDArray[np.uint8]:
    """``[B, 3, F, H, W]`` in [-1, 1] -> ``[B, F, H, W, 3]`` uint8."""
    pixels = ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 4, 1).contiguous().numpy()


def _convert(video: Tensor, output_type: str) -> Any:
    """``[B, 3, F, H, W]`` in [-1, 1] as ``output_type`` wants it."""
    if output_type == "pt":
        return ((video + 1) / 2).transpose(1, 2)
    if output_type == "np":
        return ((video + 1) / 2).permute(0, 2, 3, 4, 1).numpy()
    return [[Image.fromarray(frame) for frame in sample] for sample in _to_uint8(video)]
