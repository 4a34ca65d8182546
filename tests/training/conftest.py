"""Caches, and drawn performers with a codec for them, shared by the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from nano_tracks import draw_track
from talkies.models.motion_latents import MOTION_CHANNELS
from talkies.training.assemble import freeze_codec
from talkies.training.codec import CodecRecipe, CodecTrainer
from training_cases import write_cache


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of two people and four of one."""
    return write_cache(tmp_path_factory.mktemp("cache") / "train", [2] * 10 + [1] * 4)


@pytest.fixture(scope="session")
def validation_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four other clips of two people."""
    return write_cache(tmp_path_factory.mktemp("cache") / "validation", [2] * 4, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nano")
    (root / "tracks").mkdir()
    for person in range(5):
        draw_track(root / "tracks", person)
    return root


@pytest.fixture(scope="module")
def recipe(folder: Path) -> CodecRecipe:
    return CodecRecipe(
        tracks=[folder / "tracks"],
        validation=["person-0000004"],
        output=folder / "codec-run",
        latent_channels=MOTION_CHANNELS + 6,
        widths=(8, 8, 8, 16),
        crop=64,
        batch_size=2,
        minutes=0.01,
        basis_draws=16,
        face_draws=24,
    )


@pytest.fixture(scope="module")
def codec(recipe: CodecRecipe, folder: Path) -> Path:
    CodecTrainer(recipe, lambda _text: None).run()
    freeze_codec(recipe, folder / "codec", draws=2)
    return folder / "codec"
