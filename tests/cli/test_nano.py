"""The model that comes with the package: used where none is named, and one clear line where this copy has none."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from command_line import Talkies
from talkies import bundled
from talkies.cli import model_folder

needs_nano = pytest.mark.skipif(
    not bundled.has_nano(), reason="this copy of the package has no weights in src/talkies/nano"
)


def place(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Pretends that the package's model lies there."""
    monkeypatch.setattr(bundled, "NANO_FOLDER", folder)
    monkeypatch.setattr(model_folder, "NANO_FOLDER", folder)


@pytest.mark.parametrize("options", [(), ("-m", "nano")])
def test_without_weights_it_says_so(
    options: tuple[str, ...], here: Path, material: Path, talkies: Talkies, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch, here / "nothing")
    result = talkies("generate", material / "duo.yaml", "-o", "o.mp4", *options)
    assert result.code == 2
    assert "This copy of Talkies has no model of its own. Name one with --model" in result.err
    assert list(here.iterdir()) == []
    assert "missing" in talkies("models", "list").out.splitlines()[0]


@pytest.mark.parametrize("options", [(), ("-m", "nano")])
def test_with_weights_it_is_the_default(
    options: tuple[str, ...], here: Path, material: Path, talkies: Talkies, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch, material / "model")
    result = talkies("generate", material / "duo.yaml", "--plan", "-o", "o.mp4", *options)
    assert result.code == 0, result.err
    assert "25 frames, 1.00 s, 160x96" in result.err
    assert "here" in talkies("models", "list").out.splitlines()[0]


@needs_nano
def test_the_bundled_model_is_whole(here: Path, material: Path, talkies: Talkies) -> None:
    verified = talkies("models", "verify", "nano")
    assert verified.code == 0, verified.out
    plan = talkies("generate", material / "duo.yaml", "--plan", "-o", "o.mp4")
    assert plan.code == 0, plan.err
    assert "nano on cpu" in plan.err or "nano on cuda" in plan.err
    assert any("nano" in line and "ok" in line for line in talkies("doctor").out.splitlines())


@pytest.mark.slow
@needs_nano
def test_the_bundled_model_makes_a_video(here: Path, material: Path, talkies: Talkies) -> None:
    result = talkies("generate", material / "duo.yaml", "--seconds", "0.52", "-o", "o.mp4")
    assert result.code == 0, result.err
    with av.open("o.mp4") as file:
        assert sum(1 for _ in file.decode(video=0)) == 13
    assert talkies("verify", "o.mp4").code == 0
