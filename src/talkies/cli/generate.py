"""`talkies generate`: a conversation becomes a video."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from talkies.cli.model_folder import ModelFolder
    from talkies.cli.planning import Plan, RenderOptions
    from talkies.cli.report import Report
    from talkies.cli.scene import Scene
    from talkies.domain.conversation import Conversation
    from talkies.provenance.consent import Consent

_WHAT, _HOW, _FILE, _WHO = "What to show", "How to generate", "What to write", "Provenance"
_MACHINE = "How to use the machine"


def generate(
    conversation: Annotated[
        Path | None,
        typer.Argument(help="Conversation file: YAML or JSON, or the authors' input JSON.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", help="File to write; its suffix is the format. A folder for png."),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="The picture.", rich_help_panel=_WHAT)] = None,
    speaker: Annotated[
        list[str] | None,
        typer.Option(help="A voice; repeat for each person, left to right. `none`: silent.", rich_help_panel=_WHAT),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="A dialogue, `Ana: Hello!`: spoken by synthetic voices.", rich_help_panel=_WHAT)
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What happens in the video.", rich_help_panel=_WHAT)] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to avoid.", rich_help_panel=_WHAT)] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop the video there.", rich_help_panel=_WHAT)] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model folder or fetched id; else the bundled one.", rich_help_panel=_HOW),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same video.", rich_help_panel=_HOW)] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; else the model's.", rich_help_panel=_HOW)] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; else the model's.", rich_help_panel=_HOW)] = None,
    text_guidance: Annotated[float | None, typer.Option(help="Guidance by the prompt.", rich_help_panel=_HOW)] = None,
    audio_guidance: Annotated[float | None, typer.Option(help="Guidance by the voices.", rich_help_panel=_HOW)] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other setting, e.g. motion_frames=5.", rich_help_panel=_HOW
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[=STRENGTH]", help="Apply a LoRA; may be repeated.", rich_help_panel=_HOW),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_MACHINE)] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.", rich_help_panel=_MACHINE)] = "auto",
    offload: Annotated[str, typer.Option(help="auto, none, model, group.", rich_help_panel=_MACHINE)] = "auto",
    quantization: Annotated[str, typer.Option(help="auto, none, fp8, int8.", rich_help_panel=_MACHINE)] = "auto",
    attention: Annotated[str, typer.Option(help="native, flash, sage, ...", rich_help_panel=_MACHINE)] = "native",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the blocks.", rich_help_panel=_MACHINE)] = False,
    format: Annotated[str | None, typer.Option(help="mp4, webm, gif or png.", rich_help_panel=_FILE)] = None,
    fps: Annotated[str, typer.Option(help="Frames per second, like 25 or 30000/1001.", rich_help_panel=_FILE)] = "25",
    crf: Annotated[int, typer.Option(help="Quality: 0 is best, 51 worst.", rich_help_panel=_FILE)] = 17,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would happen, and draw the people.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    preview: Annotated[
        Path | None, typer.Option(help="Where --plan draws the people; else beside the output.", rich_help_panel=_FILE)
    ] = None,
    i_have_consent: Annotated[
        bool, typer.Option("--i-have-consent", help="The people shown agreed, or are not real.", rich_help_panel=_WHO)
    ] = False,
    no_credentials: Annotated[
        bool, typer.Option("--no-credentials", help="Do not sign the file as AI-generated.", rich_help_panel=_WHO)
    ] = False,
    certificate: Annotated[Path | None, typer.Option(help="Own certificate, PEM.", rich_help_panel=_WHO)] = None,
    key: Annotated[Path | None, typer.Option(help="Own key, PEM.", rich_help_panel=_WHO)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Make a video in which the people of a picture talk."""
    from talkies.cli.model_folder import find_model
    from talkies.cli.planning import MachineOptions, RenderOptions, parse_lora
    from talkies.cli.report import Report
    from talkies.cli.scene import prepare
    from talkies.domain.clip import FrameSize
    from talkies.domain.errors import InputError
    from talkies.media.video import format_of, parse_fps

    report = Report(quiet)
    described = _conversation(conversation, image, speaker or [], script, prompt, negative_prompt)
    suffix = "" if format == "png" else f".{format or 'mp4'}"
    target = (output or Path(f"{(conversation or described.image).stem}{suffix}")).expanduser()
    named = {
        "num_inference_steps": steps,
        "text_guidance_scale": text_guidance,
        "audio_guidance_scale": audio_guidance,
    }
    options = RenderOptions(
        output=target,
        format=format_of(target, format),
        fps=parse_fps(fps),
        crf=crf,
        seed=seed,
        overrides=_overrides(named, override or []),
        size=None if size is None else FrameSize.parse(size),
        machine=MachineOptions(
            device=device,
            dtype=dtype,
            offload=offload,
            quantization=quantization,
            attention=attention,
            compile=compile,
            loras=tuple(map(parse_lora, lora or [])),
        ),
        resume=resume,
        credentials=not no_credentials,
        certificate=certificate,
        key=key,
    )
    if seconds is not None and not 0.04 <= seconds <= 86_400:
        raise InputError(f"--seconds {seconds:g} is out of range 0.04..86400.")
    inputs = _inputs(described, conversation, script)
    _check_output(options, inputs)
    drawing = _drawing(options.output, preview, inputs) if plan else None
    folder = find_model(model)
    with tempfile.TemporaryDirectory(prefix="talkies-") as temporary:
        scene = prepare(described, Path(temporary), seconds)
        for note in scene.notes:
            report.note(note)
        if folder.generation.get("liveliness") is None and any(each is not None for each in scene.liveliness()):
            report.note(f"{folder.name} is not told how lively people are: liveliness does nothing.")
        _run(scene, folder, options, report, drawing, i_have_consent)


def _run(
    scene: Scene,
    model: ModelFolder,
    options: RenderOptions,
    report: Report,
    drawing: Path | None,
    agreed: bool,
) -> None:
    from talkies.cli.estimate import spell_seconds
    from talkies.cli.planning import plan
    from talkies.cli.prompts import choose_prompt
    from talkies.cli.rendering import render
    from talkies.domain.errors import TalkiesError

    planned = plan(scene, model, options)
    scene = scene.within(planned.size, model.size_multiple)
    if drawing is not None:
        _show(scene, model, planned, options, report, drawing)
        return
    consent = _consent(agreed, scene.conversation.consent, report)
    prompt, origin = choose_prompt(scene)
    if origin:
        report.note(origin)
    if not options.credentials:
        report.note("Content credentials are switched off: the file will not say that it is AI-generated.")
    count = len(planned.segments.segments)
    report.say(
        f"{scene.num_frames} frames of {planned.size} in {count} segment{'s' if count > 1 else ''} with {model.name} "
        f"on {planned.runtime.profile.device}; expected to take about {spell_seconds(planned.seconds)}."
    )
    kept = options.output.with_name(options.output.name + ".unfinished")
    more = f"Finished segments are kept in {kept.name}: go on with --resume."
    try:
        record = render(scene, model, planned, prompt, consent, options, report)
    except KeyboardInterrupt:
        report.say(f"Stopped; {options.output.name} was not written. {more if kept.is_dir() else ''}".rstrip())
        sys.exit(130)  # not typer's way out: `main` would say once more that it stopped
    except TalkiesError as error:
        if error.exit_code != 2 and kept.is_dir():
            report.note(more)
        raise
    report.say(f"{options.output}: {scene.seconds:.2f} s, {planned.size}; content credentials {record.credentials}.")
    if not report.quiet:
        typer.echo(str(options.output))


def _conversation(
    path: Path | None,
    image: Path | None,
    voices: list[str],
    script: Path | None,
    prompt: str | None,
    negative: str | None,
) -> Conversation:
    from talkies.cli.scene import shorthand
    from talkies.cli.script import read, scripted
    from talkies.domain.errors import InputError
    from talkies.media.conversation_file import parse_conversation, resolve_paths, validate

    base, folders = parse_conversation(path, scripted=script is not None) if path is not None else (None, [])
    if script is not None and voices:
        raise InputError("--script and --speaker exclude each other.", "A script's lines are spoken, not recorded.")
    fields: dict[str, Any] = (
        shorthand(_here(image), [_here_text(voice) for voice in voices], base)
        if script is None
        else scripted(read(script.expanduser()), _here(image), base)
    )
    fields |= {name: value for name, value in (("prompt", prompt), ("negative_prompt", negative)) if value is not None}
    return resolve_paths(validate(fields, path.name if path else "The command line"), [*folders, Path.cwd()])


def _here(path: Path | None) -> Path | None:
    return None if path is None else Path.cwd() / path.expanduser()


def _here_text(voice: str) -> str:
    from talkies.cli.scene import SILENT_WORDS

    return voice if voice.strip().lower() in SILENT_WORDS else str(Path.cwd() / Path(voice).expanduser())


def _overrides(named: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    from talkies.cli.planning import parse_override

    return {name: value for name, value in named.items() if value is not None} | dict(map(parse_override, texts))


def _inputs(conversation: Conversation, *files: Path | None) -> list[Path]:
    """Every file the user gave."""
    masks = [speaker.region.mask for speaker in conversation.speakers if speaker.region and speaker.region.mask]
    voices = [turn.audio for turn in conversation.turn_list() if turn.audio]
    return [conversation.image, *masks, *voices, *(file for file in files if file is not None)]


#: What a folder holds that `--format png` wrote; only such a folder is replaced.
_PNG_FOLDER = re.compile(r"\d{6,}\.png|sound\.wav|settings\.json")


def _check_output(options: RenderOptions, inputs: list[Path]) -> None:
    from talkies.domain.errors import InputError
    from talkies.media.staging import require_writable
    from talkies.provenance.credentials import load_key
    from talkies.provenance.record import sidecar_path

    output = options.output
    require_writable(output)
    if output.exists() and output.is_dir() != (options.format == "png"):
        raise InputError(
            f"{output} is a {'folder' if output.is_dir() else 'file'}; --format {options.format} cannot replace it."
        )
    if output.is_dir() and not all(_PNG_FOLDER.fullmatch(entry.name) for entry in output.iterdir()):
        raise InputError(f"{output} holds other files than a video's pictures.", "Choose an empty or new folder.")
    _refuse_inputs(output, inputs)
    _refuse_inputs(sidecar_path(output), inputs)
    if options.credentials and (options.certificate or options.key):
        load_key(options.certificate, options.key)


def _refuse_inputs(target: Path, inputs: list[Path]) -> None:
    """Never writes over what the user gave."""
    from talkies.domain.errors import InputError

    if not target.exists():
        return
    if any(target.samefile(path) for path in inputs):
        raise InputError(f"The output {target.name} is one of the inputs.", "Choose another name.")
    if any(target.resolve() in path.resolve().parents for path in inputs):
        raise InputError(f"One of the inputs lies in {target}, which would be replaced.", "Choose another folder.")


def _drawing(output: Path, wanted: Path | None, inputs: list[Path]) -> Path:
    """Where --plan draws the people."""
    from talkies.media.staging import require_writable

    target = (wanted or output.with_name(output.stem + ".people.png")).expanduser()
    require_writable(target)
    _refuse_inputs(target, inputs)
    return target


def _consent(agreed: bool, stated: str | None, report: Report) -> Consent:
    from talkies.provenance import consent

    found = consent.find(agreed, stated)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise consent.missing()
    typer.echo(consent.STATEMENT, err=True)  # --quiet does not agree for anybody
    if not typer.confirm("Is that so?", err=True):
        raise consent.missing()
    answer = consent.Consent(consent.STATEMENT, "asked", consent.today())
    consent.remember(answer)
    return answer


def _show(
    scene: Scene, model: ModelFolder, planned: Plan, options: RenderOptions, report: Report, target: Path
) -> None:
    from PIL import Image

    from talkies.cli.estimate import spell_seconds
    from talkies.cli.prompts import cues
    from talkies.media.staging import staged

    profile = planned.runtime.profile
    people = [
        (
            f"person {number}",
            f"{person.name}, {person.describe()}{'' if scene.timeline.of(number - 1) else ', silent'}",
        )
        for number, person in enumerate(scene.people, 1)
    ]
    names = [person.name for person in scene.people]
    says = [
        (
            f"{utterance.start:7.2f} s",
            f"{names[utterance.person]}: {utterance.audio.name}, {utterance.duration:.2f} s",
        )
        for utterance in scene.timeline.utterances[:50]
    ]
    segments = planned.segments
    calls = " or ".join(map(str, sorted(set(planned.passes))))
    video = [
        ("video", f"{scene.num_frames} frames, {scene.seconds:.2f} s, {planned.size}, {options.format}"),
        (
            "segments",
            f"{len(segments.segments)} of up to {segments.segment_frames} frames, {segments.motion_frames} handed on",
        ),
        ("steps", f"{planned.settings.num_inference_steps}, {calls} network call(s) each"),
        ("model", f"{model.name} on {profile.device} in {profile.dtype}"),
        *(("memory" if index == 0 else "", reason) for index, reason in enumerate(planned.runtime.reasons)),
        ("time", f"about {spell_seconds(planned.seconds)}"),
    ]
    report.table("People", people)
    report.table("Turns", says)
    told = cues(scene)
    if told:
        report.table("Directions", [(f"{cue.start:7.2f} s", f"until {cue.end:.2f} s: {cue.text}") for cue in told[:50]])
    report.table("Plan", video)
    with staged(target) as temporary:
        kind = Image.registered_extensions().get(target.suffix.lower(), "PNG")
        scene.preview(planned.size).save(temporary, format=kind)
    report.say(f"The people are drawn in {target}.")
