"""Crops cut from tracks, and fits that go on where they stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation_cases import Filmed
from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.aligned import FACE, MOUTH
from talkies.evaluation.fitting.crops import FACE_MARGIN, FACE_STEP, MOUTH_MARGIN, cut_tracks
from talkies.evaluation.fitting.disturb import disturbed
from talkies.evaluation.fitting.sync import SyncRecipe, contrast, fit_sync
from talkies.evaluation.fitting.units import UnitsRecipe, fit_units
from talkies.evaluation.networks.blocks import load_network
from talkies.evaluation.networks.sync_expert import SyncExpert

COUNT = 20


@pytest.fixture(scope="module")
def tracks(filmed: Filmed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tracks of the two people; the last one is silent."""
    folder = tmp_path_factory.mktemp("tracks")
    width = filmed.frames.shape[2]
    for number in range(4):
        k, start = number // 2, 20 * (number % 2)
        span, side = slice(start, start + COUNT), slice(0, width // 2) if k == 0 else slice(width // 2, None)
        picture = filmed.frames[span, :, side]
        alpha = np.full((*picture.shape[:3], 1), 255, np.uint8)
        units = np.zeros((COUNT, 52), np.float32)
        units[:, FACE_UNITS.index("jawOpen")] = 0.6 * filmed.moves[k, span]
        box = filmed.labels[f"p{k}/face_box"][span].astype(np.float32) - np.array([k * width // 2, 0] * 2)
        name = folder / f"person-{k:07d}-take-{number % 2:02d}"
        np.save(name.with_suffix(".npy"), np.concatenate([picture, alpha], -1))
        np.savez(
            name.with_suffix(".npz"), face_units=units, face_box=box, meta=json.dumps({"person": k}),
            waveform=(filmed.voices[k][640 * start : 640 * (start + COUNT)] * 32767).astype(np.int16),
            phone_labels=np.array(["AA"] if number < 3 else [], "<U4"),
        )  # fmt: skip
    return folder


def test_crops_are_cut_once(tracks: Path, tmp_path: Path) -> None:
    crops = cut_tracks(tracks, tmp_path / "c")
    assert crops.mouths.shape == (4, COUNT, MOUTH.size + 2 * MOUTH_MARGIN, MOUTH.size + 2 * MOUTH_MARGIN)
    assert crops.faces.shape == (4, COUNT // FACE_STEP, FACE.size + 2 * FACE_MARGIN, FACE.size + 2 * FACE_MARGIN)
    assert crops.speaks.tolist() == [True, True, True, False] and crops.people.tolist() == [0, 0, 1, 1]
    assert crops.mouths.std() > 10 and np.abs(crops.sounds).max() > 1000
    before = (tmp_path / "c" / "mouths.npy").stat().st_mtime_ns
    cut_tracks(tracks, tmp_path / "c")
    assert (tmp_path / "c" / "mouths.npy").stat().st_mtime_ns == before
    assert len(cut_tracks(tracks, tmp_path / "d", every=2).mouths) == 2
    with pytest.raises(InputError, match="There are no tracks"):
        cut_tracks(tmp_path, tmp_path / "e")


def test_undisturbed_is_the_middle_and_mirrors_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SHIFT", "_SIZE", "_TURN", "_TREMBLE", "_GAMMA", "_NOISE", "_BLURRED"):
        monkeypatch.setattr(f"talkies.evaluation.fitting.disturb.{name}", 0.0)
    clips = torch.randint(1, 256, (2, 3, 20, 20)).byte()
    found = disturbed(clips, 12, torch.tensor([False, True]))
    middle = clips[..., 4:16, 4:16].float()
    torch.testing.assert_close(found[0], middle[0], atol=0.05, rtol=0)
    torch.testing.assert_close(found[1], middle[1].flip(-1), atol=0.05, rtol=0)


def test_the_loss_is_lowest_for_what_belongs_together() -> None:
    torch.manual_seed(0)
    sound = torch.nn.functional.normalize(torch.randn(3, 9, 16), dim=-1)
    still = torch.nn.functional.normalize(torch.randn(1, 9, 16), dim=-1)
    right = contrast(torch.cat([sound, still]), sound, torch.tensor(20.0))
    late = contrast(torch.cat([sound.roll(1, 1), still]), sound, torch.tensor(20.0))
    exchanged = contrast(torch.cat([sound.roll(1, 0), still]), sound, torch.tensor(20.0))
    assert right < 0.1 < min(late, exchanged)


def test_a_fit_goes_on_as_if_it_had_never_stopped(
    tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recipe(folder: str) -> SyncRecipe:
        return SyncRecipe(
            tracks=tracks, validation=tracks, output=tmp_path / folder, steps=4, batch=2, quiet=1, span=12,
            report_steps=2, warmup=2,
        )  # fmt: skip

    said: list[str] = []
    found = fit_sync(recipe("one"), tmp_path / "one.safetensors", said.append)
    assert found["tracks"] == 3 and len(said) == 2
    network = load_network(SyncExpert(), tmp_path / "one.safetensors")
    assert isinstance(network, SyncExpert) and float(network.centre.abs().max()) > 0

    class StopError(Exception):
        pass

    def stop(text: str) -> None:
        if text.startswith("step 4"):
            raise StopError

    with pytest.raises(StopError):
        fit_sync(recipe("two"), None, stop)
    fit_sync(recipe("two"), tmp_path / "two.safetensors", said.append)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    with pytest.raises(InputError, match="too few or too short"):
        fit_sync(SyncRecipe(**{**recipe("one").model_dump(), "span": 99}), None, said.append)


def test_face_units_are_fitted_where_they_move(tracks: Path, tmp_path: Path) -> None:
    recipe = UnitsRecipe(
        tracks=tracks, validation=tracks, output=tmp_path / "u", steps=60, batch=16, report_steps=60, warmup=5
    )
    found = fit_units(recipe, tmp_path / "u.safetensors", lambda text: None)
    assert set(found) == {"jawOpen"}
    assert found["jawOpen"][0] > 0.5
    assert (tmp_path / "u.safetensors").stat().st_size < 2_000_000
