"""Tracks and sets on disk: complete, repeatable to the bit, resumable, test apart from training."""

from __future__ import annotations

import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.domain.manifest import ClipManifest
from talkies.media.shards import read_clips
from talkies.stage import clips as clips_module
from talkies.stage import tracks
from talkies.stage.captions import PersonWords
from talkies.stage.check import check
from talkies.stage.clips import SETS, SetSpec, make_clip, plan_clip
from talkies.stage.figure import Figure
from talkies.stage.footage import LABELS, FootageSettings, _draw_gestures, film_person
from talkies.stage.gestures import gesture_labels
from talkies.stage.identity import FIRST_TEST_SEED, Identity
from talkies.stage.shards import ShardJob, make_shard, members, write_set
from talkies.stage.show import contact_sheet, find_clips, side_by_side
from talkies.stage.stand_ins import APART, STAND_INS
from talkies.stage.texts import split_of
from talkies.stage.voices import available_engines, find_voice

pytestmark = [
    pytest.mark.usefixtures("body_data", "quick_voices"),
    pytest.mark.skipif(not {"flite", "espeak-ng"} & set(available_engines()), reason="no quick voice is installed"),
]
TINY = SetSpec("tiny", "test", 2, 64, 112, ("head and shoulders",), (33,), 2)


@pytest.fixture
def quick_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(name for name in available_engines() if name != "kokoro")
    monkeypatch.setattr(tracks, "_SHARES", {name: float(name in quick) for name in available_engines()})
    monkeypatch.setattr(tracks, "available_engines", lambda: quick)


def build(seed: int, extent: str) -> Figure:
    return Figure.build(Identity.sample(seed), extent=extent, texture=128)


def test_tracks_hold_what_they_promise(tmp_path: Path) -> None:
    settings = FootageSettings(frames=6, height=64, width=48, texture=128)
    assert film_person(tmp_path, 3, 2, settings) == 2
    frames = np.load(tmp_path / "person-0000003-take-00.npy", mmap_mode="r")
    assert frames.shape == (6, 64, 48, 4) and frames.dtype == np.uint8
    assert (frames[..., :3] <= frames[..., 3:]).all()  # multiplied by coverage
    with np.load(tmp_path / "person-0000003-take-00.npz", allow_pickle=False) as labels:
        assert set(labels.files) == set(LABELS)
        assert labels["face_units"].shape == (6, 52)
        assert labels["waveform"].shape == (6 * 640,)
        meta = json.loads(str(labels["meta"]))
        assert meta["split"] == "train" and PersonWords(**meta["words"]).role == meta["role"]
        assert not labels["gesture"].any()  # six frames are too few for any
    before = (tmp_path / "person-0000003-take-01.npy").read_bytes()
    (tmp_path / "person-0000003-take-01.npz").unlink()  # as if interrupted
    assert film_person(tmp_path, 3, 2, settings) == 1
    assert (tmp_path / "person-0000003-take-01.npy").read_bytes() == before


def test_faces_are_filmed_twice_as_large(tmp_path: Path) -> None:
    lengths = []
    for framing in ("shoulders", "face"):
        (tmp_path / framing).mkdir()
        film_person(tmp_path / framing, 3, 1, FootageSettings(3, 64, 64, 128, framing=framing))  # type: ignore[arg-type]
        with np.load(tmp_path / framing / "person-0000003-take-00.npz", allow_pickle=False) as labels:
            points = labels["points"][0]
        lengths.append(np.linalg.norm(points[3:5].mean(0) - points[:2].mean(0)))
    assert 1.1 < lengths[1] / lengths[0] < 2.2  # a picture of one height


def test_gestures_of_tracks_are_told_by_their_labels(tmp_path: Path) -> None:
    """About half of all takes have one; the label is on in its stroke."""
    rng, settings = np.random.default_rng(0), FootageSettings(frames=57)
    drawn = [_draw_gestures(rng, settings, 20.0) for _ in range(400)]
    names = [gesture.name for gestures in drawn for gesture in gestures]
    assert set(names) == {"nod", "shake", "turn", "lean"} and 0.4 < len(names) / 400 < 0.6
    for gestures in drawn:
        shown = gesture_labels(gestures, 57, 25.0)
        assert bool(shown.any()) == bool(gestures)


def test_clips_are_whole_and_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_clip(TINY, 0)
    one, two = (members(make_clip(plan, build, None)) for _ in range(2))
    assert {name: hashlib.sha256(data).digest() for name, data in one.items()} == {
        name: hashlib.sha256(data).digest() for name, data in two.items()
    }
    assert list(one) == [f"tiny-000000.{s}" for s in ("mp4", "p0.wav", "p1.wav", "npz", "json")]
    manifest = json.loads(one["tiny-000000.json"])
    ClipManifest.model_validate_json(one["tiny-000000.json"])
    assert len(set(manifest["captions"])) == 4
    with np.load(io.BytesIO(one["tiny-000000.npz"]), allow_pickle=False) as labels:
        assert labels["masks"].shape == (33, 64, 112)
        for k, person in enumerate(manifest["people"]):
            assert labels[f"p{k}/lip_opening"].shape == (33,)
            assert person["id"] >= FIRST_TEST_SEED
            assert not person["voice"] or find_voice(person["voice"]).split == "test"


def test_shards_are_written_once_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETS, "tiny", replace(TINY, people=1, width=64))
    make_shard(ShardJob(tmp_path, "tiny", 0, 2, texture=128))
    shard = tmp_path / "tiny-00000.tar"
    stamp = shard.stat().st_mtime_ns
    read = list(read_clips(shard))
    assert [clip["key"] for clip in read] == [b"tiny-000000", b"tiny-000001"]
    assert all({"mp4", "p0.wav", "npz", "json"} <= set(clip) for clip in read)
    assert list(write_set(tmp_path, "tiny", 2, texture=128)) == [(1, 1)]  # nothing left to do
    assert shard.stat().st_mtime_ns == stamp
    assert (tmp_path / "tiny.sha256").read_text().split()[0] == hashlib.sha256(shard.read_bytes()).hexdigest()
    assert "| Clips | 2 of 2 |" in (tmp_path / "tiny.md").read_text()
    with pytest.raises(InputError, match="another texture"):
        list(write_set(tmp_path, "tiny", 2, texture=256))
    (tmp_path / ".tiny-00001.99.part.tar").write_bytes(shard.read_bytes()[:5000])  # what a killed run leaves
    shown = find_clips(tmp_path, 3)
    assert len(shown) == 2
    assert check(tmp_path, frames=2).faces == 2
    assert contact_sheet(shown, 2, 2).shape == (64, 2 * 128 + 2, 3)
    side_by_side(shown, 2, tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").stat().st_size > 1000


def test_sets_come_in_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETS, "tiny", replace(TINY, people=1, width=64))
    make_shard(ShardJob(tmp_path, "tiny", 0, 1, texture=128, size=(80, 96)))
    (shown,) = find_clips(tmp_path, 2)
    assert shown.frames.shape[1:] == (80, 96, 3)
    for size in ((81, 96), (80, 5000), (16, 96)):
        with pytest.raises(InputError, match="cannot be made"):
            list(write_set(tmp_path, "tiny", 1, size=size))


def test_checks_count_what_is_there(tmp_path: Path) -> None:
    film_person(tmp_path, 3, 4, FootageSettings(frames=12, height=128, width=128, texture=128))
    findings = check(tmp_path, frames=6)
    assert findings.faces == findings.found == 6
    assert findings.closed <= findings.closures
    assert findings.silent < 0.05 * findings.speaking
    with pytest.raises(InputError, match="no clips or tracks"):
        check(tmp_path / "empty")


def test_test_sets_share_nothing_with_training_sets() -> None:
    people: dict[str, set[int]] = {"train": set(), "test": set()}
    for spec in SETS.values():
        for index in range(0, min(spec.clips, 400)):
            people[spec.split] |= set(plan_clip(spec, index).seeds)
    assert not people["train"] & people["test"]
    assert max(people["train"]) < FIRST_TEST_SEED <= min(people["test"])
    for split in ("train", "test"):  # sentences and voices as they are drawn for clips
        said = tracks.utterance(11, split)
        assert find_voice(said.voice_id).split == split
        sentences = re.findall(r"[^.?!]+[.?!]", said.text)
        assert len(sentences) == 3
        assert {split_of(sentence) for sentence in sentences} == {split}


def test_test_people_appear_once() -> None:
    for name in ("test-head", "test-dual", "test-four"):
        seeds = [seed for index in range(SETS[name].clips) for seed in plan_clip(SETS[name], index).seeds]
        assert len(seeds) == len(set(seeds)) == SETS[name].clips * SETS[name].people


def test_wishes_are_granted() -> None:
    motion = SETS["train-motion"]
    for index in range(30):
        plan = plan_clip(motion, index)
        assert any(plan.wishes)
        gestures = clips_module._plan_gestures(plan)
        assert tuple(tuple(g.name for g in own) for own in gestures) == plan.wishes
        assert all(0 <= g.start < g.end <= plan.frames / 25 + 1e-6 for own in gestures for g in own)


def test_impossible_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set nowhere"):
        list(write_set(tmp_path, "nowhere"))
    with pytest.raises(InputError, match="cannot be filmed"):
        FootageSettings(frames=0)


def test_stand_ins_take_the_places_of_those_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, other in STAND_INS.items():
        assert FIRST_TEST_SEED <= seed < APART and other % APART == seed
    monkeypatch.setitem(STAND_INS, 1600001, 1600001 + APART)
    seeds = [seed for index in range(SETS["test-dual"].clips) for seed in plan_clip(SETS["test-dual"], index).seeds]
    assert 1600001 not in seeds
    assert seeds[1] == 1600001 + APART
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & set(STAND_INS)
    assert {Identity.sample(seed).split for seed in seeds} == {"test"}
