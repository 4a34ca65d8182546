"""What a run will do and how: options, sizes, segments, device and memory, all before any weights are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talkies.cli.estimate import activation_bytes_of, expected_seconds, measure_speed
from talkies.cli.machine import choose_device, quiet_libraries
from talkies.cli.model_folder import ModelFolder
from talkies.cli.prompts import cues
from talkies.cli.scene import Scene
from talkies.domain.clip import FPS, FrameSize
from talkies.domain.errors import InputError
from talkies.media.video import Format

if TYPE_CHECKING:
    from talkies.pipelines.settings import GenerationSettings
    from talkies.runtime.profile import Plan as RuntimePlan
    from talkies.sampling.segments import SegmentPlan

_CHOICES = {
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "offload": ("auto", "none", "model", "group"),
    "quantization": ("auto", "none", "fp8", "int8"),
}


@dataclass(frozen=True)
class MachineOptions:
    """How to use the machine; `auto` lets free memory decide.

    Attributes:
        device: As torch names it.
        dtype, offload, quantization: See `talkies.runtime.profile.RuntimeProfile`.
        attention: Attention backend by diffusers' name.
        compile: Compile the transformer's blocks.
        loras: LoRA files with their strengths.
    """

    device: str = "auto"
    dtype: str = "auto"
    offload: str = "auto"
    quantization: str = "auto"
    attention: str = "native"
    compile: bool = False
    loras: tuple[tuple[Path, float], ...] = ()

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise InputError(f"Unknown {name} {value!r}.", f"Known: {', '.join(known)}.")
        for path, _ in self.loras:
            if not path.is_file():
                raise InputError(f"There is no LoRA file {path}.")


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
        machine: How to use the machine.
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
    machine: MachineOptions = MachineOptions()
    resume: bool = False
    credentials: bool = True
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise InputError(f"--crf {self.crf} is out of range 0..51.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed {self.seed} is out of range 0..2^63-1.")


@dataclass(frozen=True)
class Plan:
    """What will happen, known before any weights are read.

    Attributes:
        settings: All generation settings.
        size: Of the frames.
        segments: The video's segments.
        passes: Network calls per step of each segment.
        runtime: Device, precision, offload; with the estimate of memory and the reasons.
        seconds: About how long it takes.
    """

    settings: GenerationSettings
    size: FrameSize
    segments: SegmentPlan
    passes: tuple[int, ...]
    runtime: RuntimePlan
    seconds: float

    @property
    def work(self) -> int:
        """Frames times network calls over all segments: what the progress bar counts."""
        return sum(self.segment_work)

    @property
    def segment_work(self) -> tuple[int, ...]:
        """The same of each segment."""
        steps = self.settings.num_inference_steps
        both = zip(self.segments.segments, self.passes, strict=True)
        return tuple(segment.num_frames * steps * calls for segment, calls in both)


def plan(scene: Scene, model: ModelFolder, options: RenderOptions) -> Plan:
    """Works out sizes, segments, steps, and how they fit this machine.

    Raises:
        InputError: A setting is out of range, the size does not fit the model, somebody lies outside the frame, or
            memory does not suffice.
    """
    with quiet_libraries():
        import torch

        from talkies.pipelines.prompts import network_calls
        from talkies.pipelines.settings import GenerationSettings
        from talkies.sampling.segments import plan_segments

    device = choose_device(options.machine.device)
    defaults = GenerationSettings.from_config(model.generation)
    settings = defaults.replace(options.overrides)
    settings.check_told(defaults)
    if options.size is not None:
        size = options.size.require_multiple(model.size_multiple)
    else:
        size = settings.frame_size(scene.image.width, scene.image.height, model.size_multiple, len(scene.people))
    _check_regions(scene.within(size, model.size_multiple), size, model.size_multiple)
    segments = plan_segments(scene.num_frames, settings.segment_frames, settings.motion_frames)
    settings.rollout()
    settings.sampling(size).solver()
    passes = network_calls(settings, size, segments.segments, cues(scene))
    people = len(scene.people)
    runtime = _runtime(model, segments, size, people, device, options.machine)
    speed = measure_speed(device, getattr(torch, runtime.profile.dtype))
    seconds = expected_seconds(model, segments, size, people, settings.num_inference_steps, passes, speed)
    return Plan(settings, size, segments, passes, runtime, seconds)


def _check_regions(scene: Scene, size: FrameSize, token: int) -> None:
    """Refuses people whom the network could not tell apart: it sees one point of every `token` x `token` pixels."""
    masks = scene.masks(size)[:, ::token, ::token]
    if len(masks) == 1:
        return
    names = [person.name for person in scene.people]
    for index, mask in enumerate(masks):
        if not mask.any():
            raise InputError(
                f"The region of {names[index]!r} is too small in frames of {size}.",
                f"Give a larger region or --size: the network sees one point of every {token}x{token} pixels.",
            )
        for other in range(index):
            if (mask == masks[other]).all():
                raise InputError(
                    f"The regions of {names[other]!r} and {names[index]!r} are the same.", "Say who is where."
                )


def _runtime(
    model: ModelFolder, segments: SegmentPlan, size: FrameSize, people: int, device: Any, wanted: MachineOptions
) -> RuntimePlan:
    from talkies.runtime import profile
    from talkies.runtime.machine import detect_machine

    machine = detect_machine()
    vram = 0 if device.type == "cpu" else machine.free_vram
    need = model.model_size(activation_bytes_of(model, segments, size, people))
    planned = profile.plan(need, vram, machine.free_ram, str(device))
    changes: dict[str, Any] = {name: getattr(wanted, name) for name in _CHOICES if getattr(wanted, name) != "auto"}
    if changes:
        planned = profile.plan_as_chosen(need, replace(planned.profile, **changes), vram, machine.free_ram)
    return replace(planned, profile=replace(planned.profile, attention=wanted.attention, compile=wanted.compile))


def parse_override(text: str) -> tuple[str, Any]:
    """Reads `name=value`; values are JSON where they can be, else text.

    Raises:
        InputError: There is no `=`, or the setting is unknown.
    """
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


def parse_lora(text: str) -> tuple[Path, float]:
    """Reads `file.safetensors` or `file.safetensors=0.8`.

    Raises:
        InputError: The strength is not a number.
    """
    name, _, strength = text.rpartition("=")
    try:
        return (Path(name).expanduser(), float(strength)) if name else (Path(text).expanduser(), 1.0)
    except ValueError:
        raise InputError(f"--lora {text!r}: the strength is not a number.", "FILE or FILE=STRENGTH.") from None
