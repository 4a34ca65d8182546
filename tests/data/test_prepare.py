"""From files to shards: whole runs on small videos, good and bad ones, gone on with, in processes and under Ray."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filmed import RATE, find_discs, scene, vowels, write_video
from talkies.data.captions import Seen
from talkies.data.parts import Helpers, PartJob, prepare_part
from talkies.data.prepare import Runner, Workers, all_rows, find_videos, plan, prepare
from talkies.data.report import PartRecord, Row
from talkies.data.settings import FootageSettings, QualityLimits
from talkies.domain.errors import InputError, TalkiesError
from talkies.domain.manifest import ClipManifest
from talkies.media.people import Face
from talkies.media.shards import decode_video, read_clips
from talkies.media.video_source import VideoSource

#: Whether vowels are taken for speech is tried elsewhere.
LIMITS = QualityLimits(speech=0, speech_to_noise=-100)
SETTINGS = FootageSettings(size=(64, 64), shortest=9, longest=25, limits=LIMITS)
HELPERS = Helpers(detect=find_discs)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A talk of two shots, a duo with turns, a silent film, an empty room, a copy and a broken file."""
    folder = tmp_path / "films"
    folder.mkdir()
    talk = np.concatenate([scene(30, [(60, 60)], seed=1), scene(28, [(100, 55)], seed=5)])
    write_video(folder / "a-talk.mp4", talk, vowels(2.4))
    (folder / "b-copy.mp4").write_bytes((folder / "a-talk.mp4").read_bytes())
    (folder / "c-broken.mp4").write_bytes((folder / "a-talk.mp4").read_bytes()[:3000])
    duo = scene(26, [(115, 60), (45, 60)], seed=2)
    write_video(folder / "d-duo.mp4", duo, vowels(1.1))
    turns = [{"person": 0, "start": 0, "end": 0.48}, {"person": 1, "start": 0.48, "end": 1.2}]
    (folder / "d-duo.voices.json").write_text(json.dumps({"turns": turns}))
    write_video(folder / "e-silent.mp4", scene(12, [(60, 60)], seed=3), None)
    write_video(folder / "f-room.mp4", scene(12, [], seed=4), vowels(0.6))
    return folder


def run(films: Path, out: Path, runner: Runner | None = None, helpers: Helpers = HELPERS) -> list[Row]:
    steps = list(prepare([films], out, SETTINGS, helpers, runner or Workers(1)))
    assert steps[-1][0] == steps[-1][1]
    return [*all_rows(out, SETTINGS.name), *steps[0][2]]


def results(rows: Sequence[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row.video, row.start)):
        found.setdefault(row.video, []).append(row.result)
    return found


EXPECTED = {
    "a-talk.mp4": ["made", "made"], "b-copy.mp4": ["duplicate"], "c-broken.mp4": ["broken video"],
    "d-duo.mp4": ["made"], "e-silent.mp4": ["no sound"], "f-room.mp4": ["no face"],
}  # fmt: skip


def test_good_videos_become_clips_and_bad_ones_rows(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    rows = run(films, out)
    assert results(rows) == EXPECTED
    with (out / "footage.report.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows)
    assert float(next(row for row in table if row["key"])["sharpness"]) > 8
    shards = sorted(out.glob("*.tar"))
    assert [line.split()[1] for line in (out / "footage.sha256").read_text().splitlines()] == [s.name for s in shards]
    assert "| no face | 1 |" in (out / "footage.md").read_text()
    clips = [clip for shard in shards for clip in read_clips(shard)]
    assert sorted(clip["key"].decode() for clip in clips) == sorted(row.key for row in rows if row.key)
    for clip in clips:
        check_clip(clip)
    before = {path: path.stat().st_mtime_ns for path in shards}
    assert results(run(films, out)) == EXPECTED  # nothing left to do
    shards[0].unlink()
    digest = hashlib.sha256(shards[1].read_bytes()).digest()
    assert results(run(films, out)) == EXPECTED  # one made again
    assert shards[0].exists() and shards[1].stat().st_mtime_ns == before[shards[1]]
    shards[1].unlink()
    run(films, out)
    assert hashlib.sha256(shards[1].read_bytes()).digest() == digest
    with pytest.raises(InputError, match="another shortest, longest"):
        list(prepare([films], out, FootageSettings(size=(64, 64), limits=LIMITS), HELPERS, Workers(1)))


def check_clip(clip: dict[str, bytes]) -> None:
    manifest = ClipManifest.model_validate_json(clip["json"])
    frames = decode_video(clip["mp4"])
    assert frames.shape == (manifest.frames, 64, 64, 3)
    with np.load(io.BytesIO(clip["npz"]), allow_pickle=False) as labels:
        masks = labels["masks"]
        assert masks.shape == frames.shape[:3]
        assert set(np.unique(masks)) <= {*range(len(manifest.people) + 1)}
        for k, person in enumerate(manifest.people):
            boxes, speaking = labels[f"p{k}/face_box"], labels[f"p{k}/speaking"]
            assert boxes.shape == (manifest.frames, 4) and speaking.dtype == bool
            sound = np.frombuffer(clip[person.audio][44:], "<i2")
            assert len(sound) == manifest.frames * 640
            x, y = ((boxes[0, :2] + boxes[0, 2:]) / 2).astype(int)
            assert masks[0, y, x] == k + 1
            assert frames[0, y, x].max() > 150  # a disc, no ground
    assert manifest.turns and manifest.origin is not None


def test_everybody_has_their_own_voice(films: Path, tmp_path: Path) -> None:
    run(films, tmp_path / "set")
    clips = [clip for shard in sorted((tmp_path / "set").glob("*.tar")) for clip in read_clips(shard)]
    (duo,) = [clip for clip in clips if len(json.loads(clip["json"])["people"]) == 2]
    left, right = (np.frombuffer(duo[f"p{k}.wav"][44:], "<i2") for k in range(2))
    border = round(0.48 * RATE)
    assert left[:border].any() and not left[border:].any()
    assert right[border:].any() and not right[:border].any()
    manifest = json.loads(duo["json"])
    assert [(turn["person"], turn["start"]) for turn in manifest["turns"]] == [(0, 0.0), (1, 0.48)]
    beside = films / "d-duo.voices.json"
    beside.write_text('{"voices": ["a.wav"]}')  # who speaks is said anew: made anew
    found = results(run(films, tmp_path / "set"))
    assert found["d-duo.mp4"] == ["voices and faces differ"] and found["a-talk.mp4"] == ["made"] * 2
    assert len(list((tmp_path / "set").glob("*.tar"))) == 1
    left_face, right_face = (person["face_box"] for person in manifest["people"])
    assert left_face[2] < right_face[0]
    assert "on the left is talking" in manifest["captions"][-1]


def test_long_videos_are_made_in_parts(tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.mp4", scene(260, [(80, 60)]), vowels(10.4))
    settings = FootageSettings(size=(64, 64), shortest=9, longest=65, part_seconds=10, limits=LIMITS)
    jobs, unusable = plan([video], tmp_path, settings)
    assert [(job.start, round(job.seconds, 1)) for job in jobs] == [(0, 10), (10, 0.4)] and not unusable
    rows = prepare_part(jobs[1], HELPERS)
    assert [row.start for row in rows] == [10.0]
    (clip,) = read_clips(jobs[1].shard)
    shown = decode_video(clip["mp4"])[0].astype(int)
    (whole,) = VideoSource.open(video).frames(10, 0.04, 960)
    window = json.loads(clip["json"])["origin"]["window"]
    cut = Image.fromarray(whole).resize((64, 64), Image.Resampling.LANCZOS, box=window)
    assert np.abs(shown - np.asarray(cut)).mean() < 4
    assert PartJob.model_validate_json(jobs[0].model_dump_json()) == jobs[0]
    assert list(PartRecord.read(jobs[1].rows).rows) == rows


@dataclass(frozen=True)
class Mute:
    """Captions that fail."""

    def __call__(self, seen: Seen) -> tuple[str, ...]:
        raise TalkiesError("no words")


def die(image: Image.Image) -> tuple[Face, ...]:
    """A decoder's bug."""
    os._exit(3)


def test_failing_captions_are_rows(films: Path, tmp_path: Path) -> None:
    found = results(run(films, tmp_path / "set", helpers=Helpers(describe=Mute(), detect=find_discs)))
    assert found["a-talk.mp4"] == ["caption failed"] * 2


@pytest.mark.slow
def test_a_process_that_dies_takes_nobody_along(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    steps = list(prepare([films], out, SETTINGS, Helpers(detect=die), Workers(2)))
    found = results([row for _, _, rows in steps for row in rows])
    assert found["a-talk.mp4"] == found["f-room.mp4"] == ["process died"]
    assert found["e-silent.mp4"] == ["no sound"]  # its faces were never looked for
    assert "process died" in (out / "footage.report.csv").read_text()
    assert results(run(films, out, Workers(2))) == EXPECTED


def test_what_ray_maps_over_parts(tmp_path: Path) -> None:
    from talkies.data.on_ray import make_part

    video = write_video(tmp_path / "v.mp4", scene(12, [(60, 60)]), None)
    (job,), _ = plan([video], tmp_path, SETTINGS)
    helpers = pickle.loads(pickle.dumps(HELPERS))  # noqa: S301 - as it travels
    (row,) = json.loads(make_part({"job": job.model_dump_json()}, helpers)["rows"])
    assert row["result"] == "no sound" and PartRecord.read(job.rows).rows == (Row.model_validate(row),)


@pytest.mark.slow
def test_ray_makes_the_same(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers look for `find_discs`, too
    from talkies.data.on_ray import HERE, RayWorkers

    assert results(run(films, tmp_path / "ray", RayWorkers(HERE, 2))) == EXPECTED
    run(films, tmp_path / "here")
    assert (tmp_path / "ray" / "footage.sha256").read_text() == (tmp_path / "here" / "footage.sha256").read_text()
    assert (tmp_path / "ray" / "footage.report.csv").read_text() == (
        tmp_path / "here" / "footage.report.csv"
    ).read_text()


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no videos"):
        find_videos([tmp_path])
    with pytest.raises(InputError, match="There is no video"):
        find_videos([tmp_path / "film.mp4"])
