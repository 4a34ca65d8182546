"""A scene and a model become a file: loading, sampling, writing, marking, signing; stopped and resumed if need be."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from talkies.cli.machine import quiet_libraries
from talkies.cli.model_folder import ModelFolder
from talkies.cli.planning import Plan, RenderOptions
from talkies.cli.prompts import cues
from talkies.cli.report import Report
from talkies.cli.scene import Scene
from talkies.domain.directions import Cue
from talkies.domain.errors import TalkiesError
from talkies.media.frame_store import FrameStore
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.provenance import credentials as c2pa
from talkies.provenance.consent import Consent
from talkies.provenance.record import (
    GenerationRecord,
    mark_identity,
    readable,
    sha256_of,
    sidecar_path,
    source,
    weights_source,
)
from talkies.provenance.watermark import Watermark, can_mark

if TYPE_CHECKING:
    from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline

_EXPLAINED = 512  # of an error's text, shown to the user


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors of the libraries below, in one line."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except TalkiesError:
        raise
    except (MemoryError, torch.OutOfMemoryError):
        raise TalkiesError(
            f"Out of memory while {what}.", "Choose a smaller --size, or fewer segment_frames."
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError,
            SafetensorError) as error:  # fmt: skip
        text = " ".join(str(error).split())
        if "allocate memory" in text:
            raise TalkiesError(f"Out of memory while {what}.", "Choose a smaller --size.") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TalkiesError(f"Failed while {what}: {type(error).__name__}: {text[:_EXPLAINED]}") from error


def load(model: ModelFolder, planned: Plan, options: RenderOptions, report: Report) -> MultiTalkPipeline:
    """The pipeline on its device.

    Raises:
        TalkiesError: The folder is damaged, a LoRA does not fit, or memory does not suffice.
    """
    with _explained(f"loading {model.name}"), quiet_libraries():
        import torch

        from talkies.checkpoints.lora import load_lora
        from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
        from talkies.runtime.apply import apply_profile

        dtype = getattr(torch, planned.runtime.profile.dtype)
        if model.official is not None:
            parts = model.official
            pipeline = MultiTalkPipeline.from_official(parts.wan, parts.multitalk, parts.wav2vec2, dtype)
        else:
            pipeline = MultiTalkPipeline.from_pretrained(
                model.path, dtype=dtype, local_files_only=True, use_safetensors=True
            )
        for path, strength in options.machine.loras:
            report.note(f"{path.name}: {load_lora(pipeline.transformer, path, scale=strength)}")
        pipeline.set_progress_bar_config(disable=True)
        apply_profile(pipeline, planned.runtime.profile)
    return pipeline


Loader = Callable[[ModelFolder, Plan, RenderOptions, Report], "MultiTalkPipeline"]


def render(
    scene: Scene,
    model: ModelFolder,
    planned: Plan,
    prompt: str,
    consent: Consent,
    options: RenderOptions,
    report: Report,
    loader: Loader = load,
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
        loader: Gives the pipeline; one that keeps it saves the time of loading again.

    Returns:
        The record.

    Raises:
        TalkiesError: Anything that went wrong; nothing half-written is left.
    """
    with quiet_libraries():
        from talkies.pipelines.inputs import GenerationRequest
        from talkies.sampling.noise import cpu_generator

    scene = scene.within(planned.size, model.size_multiple)
    key = c2pa.load_key(options.certificate, options.key) if _signs(options) else None
    told = cues(scene)
    record = _record(scene, model, planned, prompt, told, consent, options)
    pipeline = loader(model, planned, options, report)
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
        cues=told,
        liveliness=() if planned.settings.liveliness is None else scene.liveliness(),
    )
    unfinished = options.output.with_name(options.output.name + ".unfinished")
    store = FrameStore(unfinished) if len(planned.segments.segments) > 1 else None
    settings = VideoSettings(options.format, options.fps, options.crf, record.tags())
    try:
        with staged(options.output) as temporary, _explained(f"writing {options.output.name}"):
            with VideoWriter(temporary, planned.size, settings, scene.mix()) as writer:
                _stream(pipeline, request, planned, writer, store, record.mark, options, report)
            if key is not None:
                c2pa.sign(temporary, record, key)
            digest = sha256_of(temporary) if temporary.is_file() else None
            with staged(sidecar_path(options.output)) as sidecar:  # first: whoever sees the video sees what made it
                sidecar.write_text(record.sidecar(digest), encoding="utf-8")
    except BaseException:
        if store is not None and not any(True for _ in store.segments()):
            store.remove()  # nothing in it that --resume could use
        raise
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
    before = np.cumsum([0, *planned.segment_work])
    written = 0

    def write(frames: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        writer.write(frames if watermark is None or mark is None else watermark.embed(frames, int(mark, 16)))

    if store is not None and not options.resume:
        store.remove()
    with report.progress(planned.work) as update:

        def progress(now: Any) -> None:
            done = np.interp(now.segment + (now.step + 1) / now.steps, range(len(before)), before)
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
                report.preview(part.frames[0])
                gc.collect()
            while written < len(segments) and store is not None:
                write(store.load(written))
                written += 1
        update(float(planned.work), "writing")


def _signs(options: RenderOptions) -> bool:
    return options.credentials and c2pa.media_type(options.output) is not None and options.format != "png"


def _record(
    scene: Scene,
    model: ModelFolder,
    planned: Plan,
    prompt: str,
    told: tuple[Cue, ...],
    consent: Consent,
    options: RenderOptions,
) -> GenerationRecord:
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
                 "runtime": asdict(planned.runtime.profile), "turns": _turns(scene),
                 "directions": [f"{cue.start:.2f} to {cue.end:.2f} s: {cue.text}" for cue in told]}  # fmt: skip
    return GenerationRecord(
        model=model.name,
        model_files=tuple(weights_source(path) for path in model.weight_files()),
        sources=sources,
        prompt=prompt,
        negative_prompt=str(settings.pop("negative_prompt")) if negative is None else negative,
        people=tuple(f"{person.name}: {person.describe()}" for person in scene.people),
        seed=options.seed,
        settings=settings,
        consent=consent,
        credentials=signed,
        mark=None if identity is None else f"{identity:04x}",
        device=_device_name(planned.runtime.profile.device),
    )


def _turns(scene: Scene) -> list[str]:
    return [
        f"{scene.people[utterance.person].name} says {readable(utterance.audio.name)} from {utterance.start:.2f} s"
        for utterance in scene.timeline.utterances
    ]


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
