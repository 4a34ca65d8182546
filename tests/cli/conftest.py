"""A folder with a picture, voices and a model's configuration, and the command run in this process."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from safetensors.numpy import save_file

from command_line import Result, Talkies


@pytest.fixture
def talkies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Talkies:
    """Runs `talkies ...` in this process, with a home of its own and nobody at the keyboard."""
    from talkies.cli.main import main

    monkeypatch.setenv("TALKIES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TALKIES_DEBUG", raising=False)
    monkeypatch.delenv("TALKIES_CAPTIONER", raising=False)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["talkies", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photo.png (no faces), a.wav (1 s), b.wav (0.5 s), mask.png, duo.yaml, and model/: configuration and a weight."""
    folder = tmp_path_factory.mktemp("material")
    Image.linear_gradient("L").resize((160, 96)).convert("RGB").save(folder / "photo.png")
    for name, seconds in (("a.wav", 1.0), ("b.wav", 0.5)):
        samples = 0.2 * np.sin(np.arange(int(16_000 * seconds)) / 6)
        soundfile.write(folder / name, samples, 16_000)
    mask = np.zeros((96, 160), np.uint8)
    mask[:, :80] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    (folder / "duo.yaml").write_text(
        "image: photo.png\nprompt: two talk\nconsent: drawn\nspeakers:\n"
        "  - {name: Ann, audio: a.wav, region: {mask: mask.png}}\n"
        "  - {name: Ben, audio: b.wav, region: {box: [80, 0, 160, 96]}}\n"
    )
    model = folder / "model"
    for part, config in (
        ("vae", {"scale_factor_spatial": 16, "requires_reference": True}),
        ("transformer", {"patch_size": [1, 1, 1], "num_layers": 1, "num_attention_heads": 1, "attention_head_dim": 8}),
    ):
        (model / part).mkdir(parents=True)
        (model / part / "config.json").write_text(json.dumps(config))
    save_file({"w": np.zeros(4, np.float32)}, model / "transformer" / "diffusion_pytorch_model.safetensors")
    generation = {"size": 96 * 160, "segment_frames": 13, "motion_frames": 5, "num_inference_steps": 2}
    index = {"_class_name": "MultiTalkPipeline", "generation": generation}
    (model / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the 14B model's kinds of parts, tiny and untrained."""
    import torch

    path = Path(__file__).parents[1] / "pipelines" / "tiny_pipeline.py"
    spec = importlib.util.spec_from_file_location("tiny_pipeline", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    module.wan_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, made the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
