"""A scene and a model become a file: loading, sampling, writing, marking, signing; stopped and resumed if need be."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from talkies.cli.estimate import Estimate, estimate, measure_speed, spell_bytes
from talkies.cli.machine import available_ram, choose_device, choose_dtype, free_memory, quiet_libraries
from talkies.cli.model_folder import ModelFolder
from talkies.cli.report import Report
from talkies.cli.scene import Scene
from talkies.domain.clip import FPS, FrameSize
from talkies.domain.errors import InputError, TalkiesError
from talkies.media.frame_store import FrameStore
from talkies.media.staging import staged
from talkies.media.video import Format, VideoSettings, VideoWriter
from talkies.provenance import credentials as c2pa
from talkies.provenance.consent import Consent
from talkies.provenance.record import GenerationRecord, mark_identity, sha256_of, sidecar_path, source
from talkies.provenance.watermark import Watermark, can_mark

if TYPE_CHECKING:
    import torch

    from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
    from talkies.pipelines.settings import GenerationSettings
    from talkies.sampling.segments import SegmentPlan

_EXPLAINED = 512  # of an error's text, shown to the user


@dataclass(frozen=True)
class RenderOptions:
    """How to render, apart from what.

    Attributes:
        output: File, or folder for `png`.
        format: Of the output.
        fps: Of the output.
        crf: Quality of the output, 0 best.
        seed: Of the noise.
        overrides: Generation settings that differ from the model's own.
        size: Of the frames; None is the model's choice.
        device, dtype: What to compute with; `auto` chooses.
        resume: Go on from where a stopped run of the same job was.
        credentials: Embed content credentials.
        certificate, key: To sign with; None is the self-made one.
    """

    output: Path
    format: Format = "mp4"
    fps: Fraction = Fraction(FPS)
    crf: int = 17
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)
    size: FrameSize | None = None
    device: str = "auto"
    dtype: str = "auto"
    resume: bool = False
    credentials: bool = True
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What will happen, known before any weights are read.

    Attributes:
        settings: All generation settings.
        size: Of the frames.
        segments: The video's segments.
        passes: Network calls per step.
        device, dtype: What it is computed with.
    """

    settings: GenerationSettings
    size: FrameSize
    segments: SegmentPlan
    passes: int
    device: torch.device
    dtype: torch.dtype

    @property
    def work(self) -> int:
        """Frames times steps over all segments: what the progress bar counts."""
        return self.segments.rendered_frames * self.settings.num_inference_steps

    def estimate(self, model: ModelFolder) -> Estimate:
        """About how much memory and time it takes here."""
        speed = measure_speed(self.device, self.dtype)
        steps = self.settings.num_inference_steps
        return estimate(model, self.segments, self.size, steps, self.passes, speed, self.dtype.itemsize)


def plan(scene: Scene, model: ModelFolder, options: RenderOptions) -> Plan:
    """Works out sizes, segments and steps.

    Raises:
        InputError: A setting is out of range, the size does not fit the model, or somebody lies outside the frame.
    """
    with quiet_libraries():
        from talkies.pipelines.settings import GenerationSettings
        from talkies.sampling.segments import plan_segments

    device = choose_device(options.device)
    settings = GenerationSettings.from_config(model.generation).replace(options.overrides)
    if options.size is not None:
        size = options.size.require_multiple(model.size_multiple)
    else:
        size = settings.frame_size(scene.image.width, scene.image.height, model.size_multiple)
    scene.masks(size)
    segments = plan_segments(scene.num_frames, settings.segment_frames, settings.motion_frames)
    settings.rollout()
    sampling = settings.sampling(size)
    sampling.solver()
    passes = len(sampling.guider().branches)
    return Plan(settings, size, segments, passes, device, choose_dtype(options.dtype, device))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors of the libraries below, in one line."""
    import torch

    try:
        yield
    except TalkiesError:
        raise
    except (MemoryError, torch.OutOfMemoryError):
        raise TalkiesError(
            f"Out of memory while {what}.", "Choose a smaller --size, or fewer segment_frames."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if "allocate memory" in text:
            raise TalkiesError(f"Out of memory while {what}.", "Choose a smaller --size.") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TalkiesError(f"Failed while {what}: {type(error).__name__}: {text[:_EXPLAINED]}") from error


def load(model: ModelFolder, planned: Plan) -> MultiTalkPipeline:
    """The pipeline on its device.

    Raises:
        TalkiesError: The folder is damaged, or memory does not suffice; says how much is needed.
    """
    free = available_ram()
    need = sum(path.stat().st_size for path in model.weight_files())
    if planned.device.type != "cuda" and need > free:
        raise TalkiesError(
            f"The weights of {model.name} need {spell_bytes(need)} of memory; {spell_bytes(free)} are free.",
            "Close other programs, or use a smaller model.",
        )
    with _explained(f"loading {model.name}"), quiet_libraries():
        from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline

        pipeline = MultiTalkPipeline.from_pretrained(
            model.path, dtype=planned.dtype, local_files_only=True, use_safetensors=True
        )
        pipeline.set_progress_bar_config(disable=True)
        if planned.device.type == "cuda" and need > 0.8 * free_memory(planned.device):
            pipeline.enable_model_cpu_offload(device=planned.device)
        else:
            pipeline.to(planned.device)
    return pipeline


def render(
    scene: Scene,
    model: ModelFolder,
    planned: Plan,
    prompt: str,
    consent: Consent,
    options: RenderOptions,
    report: Report,
) -> GenerationRecord:
    """Generates the video and writes it, with its record beside it.

    Args:
        scene: What to show.
        model: With what.
        planned: From `plan`.
        prompt: What happens.
        consent: Kept with the video.
        options: How.
        report: Where progress goes.

    Returns:
        The record.

    Raises:
        TalkiesError: Anything that went wrong; nothing half-written is left.
    """
    with quiet_libraries():
        from talkies.pipelines.inputs import GenerationRequest
        from talkies.sampling.noise import cpu_generator

    key = c2pa.load_key(options.certificate, options.key) if _signs(options) else None
    record = _record(scene, model, planned, prompt, consent, options)
    pipeline = load(model, planned)
    request = GenerationRequest(
        image=scene.frame(planned.size),
        audio=scene.voices(options.output.parent),
        prompt=prompt,
        negative_prompt=record.negative_prompt,
        person_masks=scene.masks(planned.size),
        num_frames=scene.num_frames,
        size=planned.size,
        generator=cpu_generator(options.seed),
        settings=planned.settings,
    )
    unfinished = options.output.with_name(options.output.name + ".unfinished")
    store = FrameStore(unfinished) if len(planned.segments.segments) > 1 else None
    settings = VideoSettings(options.format, options.fps, options.crf, record.tags())
    with staged(options.output) as temporary:
        with VideoWriter(temporary, planned.size, settings, scene.mix()) as writer:
            _stream(pipeline, request, planned, writer, store, record.mark, options, report)
        if key is not None:
            c2pa.sign(temporary, record, key)
        digest = sha256_of(temporary) if temporary.is_file() else None
    with staged(sidecar_path(options.output)) as temporary:
        temporary.write_text(record.sidecar(digest), encoding="utf-8")
    if store is not None:
        store.remove()
    return record


def _stream(
    pipeline: MultiTalkPipeline,
    request: Any,
    planned: Plan,
    writer: VideoWriter,
    store: FrameStore | None,
    mark: str | None,
    options: RenderOptions,
    report: Report,
) -> None:
    watermark = Watermark(planned.size.width, planned.size.height) if mark is not None else None
    segments = planned.segments.segments
    steps = planned.settings.num_inference_steps
    before = np.cumsum([0, *(segment.num_frames * steps for segment in segments)])
    written = 0

    def write(frames: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        writer.write(frames if watermark is None or mark is None else watermark.embed(frames, int(mark, 16)))

    if store is not None and not options.resume:
        store.remove()
    with report.progress(planned.work) as update:

        def progress(now: Any) -> None:
            done = before[now.segment] + segments[now.segment].num_frames * (now.step + 1)
            update(float(done), f"segment {now.segment + 1}/{now.segments}" if now.segments > 1 else "rendering")

        folder = None if store is None else store.folder
        with _explained("generating"):
            for part in pipeline.stream(request, progress, state_folder=folder, resume=options.resume):
                while written < part.index and store is not None:  # from the run that was stopped
                    write(store.load(written))
                    written += 1
                if store is not None:
                    store.save(part.index, part.frames[0])
                write(part.frames[0])
                written += 1
                gc.collect()
            while written < len(segments) and store is not None:
                write(store.load(written))
                written += 1
        update(float(planned.work), "writing")


def _signs(options: RenderOptions) -> bool:
    return options.credentials and c2pa.media_type(options.output) is not None and options.format != "png"


def _record(
    scene: Scene, model: ModelFolder, planned: Plan, prompt: str, consent: Consent, options: RenderOptions
) -> GenerationRecord:
    from dataclasses import asdict

    if not options.credentials:
        signed = "switched off by --no-credentials"
    elif _signs(options):
        signed = "embedded"
    else:
        signed = f"not possible in {options.format}"
    sources = tuple(source(path) for path in scene.sources())
    identity = (
        mark_identity(options.seed, sources, prompt) if can_mark(planned.size.width, planned.size.height) else None
    )
    settings = asdict(planned.settings)
    negative = scene.conversation.negative_prompt
    settings |= {"size": str(planned.size), "frames": scene.num_frames, "fps": str(options.fps), "crf": options.crf,
                 "dtype": str(planned.dtype).removeprefix("torch."), "turns": _turns(scene)}  # fmt: skip
    return GenerationRecord(
        model=model.name,
        model_files=tuple(source(path) for path in model.weight_files()),
        sources=sources,
        prompt=prompt,
        negative_prompt=str(settings.pop("negative_prompt")) if negative is None else negative,
        people=tuple(f"{person.name}: {person.describe()}" for person in scene.people),
        seed=options.seed,
        settings=settings,
        consent=consent,
        credentials=signed,
        mark=None if identity is None else f"{identity:04x}",
        device=_device_name(planned.device),
    )


def _turns(scene: Scene) -> list[str]:
    return [
        f"{scene.people[utterance.person].name} says {utterance.audio.name} from {utterance.start:.2f} s"
        for utterance in scene.timeline.utterances
    ]


def _device_name(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def parse_override(text: str) -> tuple[str, Any]:
    """Reads `name=value`; values are JSON where they can be, else text.

    Raises:
        InputError: There is no `=`, or the setting is unknown.
    """
    from dataclasses import fields

    from talkies.pipelines.settings import GenerationSettings

    name, separator, value = text.partition("=")
    known = {entry.name for entry in fields(GenerationSettings)}
    if not separator or name.strip() not in known:
        raise InputError(
            f"--set {text!r} does not set anything.", f"NAME=VALUE, where NAME is one of: {', '.join(sorted(known))}."
        )
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()
