"""The whole of it on two rendered people: what is true is found, what is damaged is seen, what is broken is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from evaluation_cases import Filmed, sample_of
from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.faces import ArrayVideo, track_faces
from talkies.evaluation.lips import lip_reports
from talkies.evaluation.metric import choose, metrics
from talkies.evaluation.metrics.blinks import BLINKS, count_blinks
from talkies.evaluation.metrics.drift import DRIFT
from talkies.evaluation.metrics.efid import EFID, UnitExpression
from talkies.evaluation.metrics.fvd import FVD
from talkies.evaluation.metrics.identity import IDENTITY
from talkies.evaluation.metrics.identity import missing as missing_identity
from talkies.evaluation.metrics.swap import SWAP
from talkies.evaluation.mouth import measured_mouth
from talkies.evaluation.protocols import halves, protocol
from talkies.evaluation.runner import measure_all, measure_one, shifted
from talkies.evaluation.sample import AskedGesture, Observation
from talkies.evaluation.set_metric import among, distance, distances, set_metrics
from talkies.evaluation.sets import open_set, read_stage
from talkies.evaluation.sync import CurveScorer, bind, swapped_share

CHOSEN = choose("binding,lip-truth,drift")[0]


def test_lips_are_seen_as_they_were_performed(seen: Observation) -> None:
    for report in lip_reports(seen):
        assert report.against == "truth" and not report.silent
        assert report.r > 0.85 and report.offset == 0
        assert 0.4 < report.amplitude < 1.6
        assert abs(report.crosstalk) < 0.5


def test_faces_are_found_without_being_told_where(filmed: Filmed, seen: Observation) -> None:
    found = track_faces(ArrayVideo(filmed.frames), people=2)
    assert len(found) == 2
    for track, known in zip(found, seen.faces, strict=True):
        assert track is not None and known is not None
        assert np.abs(track.centre - known.centre).max() < 3
        assert measured_mouth(track).eyes == pytest.approx(measured_mouth(known).eyes, rel=0.1)


def test_voices_are_bound_to_faces_and_follow_an_exchange(filmed: Filmed, seen: Observation) -> None:
    right = bind(seen, CurveScorer())
    assert right.accuracy == 1.0 and right.chance == 0.5 and right.margin > 0.1
    exchanged = seen.with_voices(sample_of(filmed, order=(1, 0)).people)
    wrong = bind(exchanged, CurveScorer())
    assert wrong.accuracy == 0.0 and wrong.margin == pytest.approx(-right.margin, abs=1e-6)
    assert abs(measure_one(exchanged, CHOSEN).values["crosstalk"]) > 0.3  # type: ignore[arg-type]


def test_a_swap_is_noticed(seen: Observation) -> None:
    other = Observation(seen.sample)
    vars(other).update(vars(seen))
    assert swapped_share(seen, other) == 0.0
    vars(other)["mouths"] = seen.mouths[::-1]
    assert swapped_share(seen, other) == 1.0


def test_the_swap_test_needs_a_second_video(filmed: Filmed, seen: Observation) -> None:
    assert np.isnan(SWAP.measure(seen)["swapped share"])
    again = Observation(replace(seen.sample, exchanged=ArrayVideo(filmed.frames)))
    vars(again)["faces"] = seen.faces
    assert SWAP.measure(again)["swapped share"] == 0.0  # nothing was exchanged


@pytest.mark.parametrize("late", [2, 6])
def test_lips_that_come_late_are_found_late_by_as_much(seen: Observation, late: int) -> None:
    (moved,) = shifted([seen.sample], late)
    for report in lip_reports(seen.with_voices(moved.people)):
        assert report.offset == late


def test_frozen_lips_and_silent_people(seen: Observation) -> None:
    frozen = Observation(seen.sample)
    vars(frozen).update(vars(seen))
    still = replace(seen.mouths[0], opening=np.full_like(seen.mouths[0].opening, 0.1))
    vars(frozen)["mouths"] = (still, seen.mouths[1])
    reports = lip_reports(frozen)
    assert reports[0].r == 0.0 and reports[0].amplitude < 1e-5 and reports[1].r > 0.85
    assert np.isnan(reports[0].offset)
    quiet = replace(seen.sample.people[0], voice=None, truth=None)
    silent = seen.with_voices((quiet, seen.sample.people[1]))
    values = measure_one(silent, CHOSEN).values
    assert values["binding accuracy"] is None  # one voice: nothing to confuse
    assert values["leaked motion"] is not None and values["leaked motion"] > 0.3
    assert values["closed in silence"] is not None and values["closed in silence"] < 0.95


def test_damage_to_pictures_is_monotone(filmed: Filmed) -> None:
    def drift(frames: np.ndarray) -> dict[str, float]:
        sample = replace(sample_of(filmed, frames), reference=filmed.frames[0])
        return dict(DRIFT.measure(Observation(sample)))

    short = filmed.frames[:12]
    blurred = [drift(np.stack([gaussian_filter(f, (s, s, 0)) for f in short]))["sharpness"] for s in (0, 0.7, 1.5)]
    assert blurred == sorted(blurred, reverse=True) and blurred[0] == pytest.approx(1, abs=0.1)
    cast = [drift(np.clip(short + np.array([k, 0, 0]), 0, 255).astype(np.uint8))["colour drift"] for k in (0, 12, 40)]
    assert cast == sorted(cast) and cast[0] < 0.5 < cast[2]
    noise = np.random.default_rng(0).normal(0, 1, short.shape)
    restless = [drift(np.clip(short + k * noise, 0, 255).astype(np.uint8))["motion energy"] for k in (0, 5, 15)]
    assert restless == sorted(restless)


def test_faces_of_others_are_further_away(filmed: Filmed) -> None:
    """Identity: oneself, oneself under a blur and a mask of noise, somebody else."""
    if reason := missing_identity():
        pytest.skip(reason)
    short, width = filmed.frames[:13], filmed.frames.shape[2]
    noise = np.random.default_rng(0).normal(0, 1, short.shape)

    def distance_of(frames: np.ndarray) -> float:
        sample = replace(sample_of(filmed, frames), reference=filmed.frames[0])
        seen = Observation(sample)
        vars(seen)["faces"] = Observation(sample_of(filmed, short)).faces  # damage is to faces, not to their places
        value = IDENTITY.measure(seen)["identity distance"]
        assert IDENTITY.curves(seen)["identity distance"].mean() == pytest.approx(value, rel=0.3)
        return value

    exchanged = np.roll(short, width // 2, axis=2)
    steps = [short, *(np.stack([gaussian_filter(f, (s, s, 0)) for f in short]) for s in (1.0, 2.0)), exchanged]
    apart = [distance_of(frames) for frames in steps]
    assert apart == sorted(apart) and apart[0] < 0.2 < apart[-1]
    noisy = [distance_of(np.clip(short + k * noise, 0, 255).astype(np.uint8)) for k in (0, 12, 40)]
    assert noisy == sorted(noisy)


@pytest.mark.slow
def test_video_distance_grows_with_damage(filmed: Filmed) -> None:
    """FVD: by blur, noise, colour cast and frozen pictures."""
    if FVD.missing():
        pytest.skip(FVD.missing())

    def features(frames: np.ndarray) -> list[np.ndarray]:
        return [FVD.features(Observation(sample_of(filmed, frames)))]

    real, noise = features(filmed.frames), np.random.default_rng(0).normal(0, 1, filmed.frames.shape)
    frozen = [filmed.frames[np.arange(len(filmed.frames)) // k * k] for k in (1, 4, 16)]
    blurred = [np.stack([gaussian_filter(f, (s, s, 0)) for f in filmed.frames]) for s in (0.0, 1.0, 2.5)]
    noisy = [np.clip(filmed.frames + k * noise, 0, 255).astype(np.uint8) for k in (0, 10, 40)]
    cast = [np.clip(filmed.frames + np.array([k, 0, -k]), 0, 255).astype(np.uint8) for k in (0, 20, 60)]
    for damaged in (frozen, blurred, noisy, cast):
        apart = [distance(features(frames), real) for frames in damaged]
        assert apart == sorted(apart) and apart[0] < 1e-3 < apart[1]


def test_halves_are_the_two_single_clips(filmed: Filmed) -> None:
    sample = sample_of(filmed)
    left, right = halves(sample)
    middle = filmed.frames.shape[2] // 2
    for half, pixels, person in ((left, slice(0, middle), 0), (right, slice(middle, None), 1)):
        assert (np.concatenate(list(half.video.blocks())) == filmed.frames[:, :, pixels]).all()
        assert half.people[0].voice is filmed.voices[person]
    whole = measure_all([sample], CHOSEN, protocol=halves).rows[0]
    singles = [measure_one(Observation(half), CHOSEN).values["lip r"] for half in (left, right)]
    assert whole.values["lip r"] == pytest.approx(np.mean(singles), abs=1e-5)  # type: ignore[arg-type]
    alone = replace(sample, people=sample.people[:1])
    assert "needs two" in measure_all([alone], CHOSEN, protocol=halves).rows[0].failure
    with pytest.raises(InputError, match="no protocol"):
        protocol("thirds")


def test_what_cannot_be_measured_becomes_a_named_row(filmed: Filmed, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    whole = sample_of(filmed)
    empty = np.zeros((12, 64, 96, 3), np.uint8)
    samples = [
        replace(whole, key="short", video=ArrayVideo(filmed.frames[:4])),
        replace(whole, key="faceless", video=ArrayVideo(empty)),
        next(open_set(tmp_path)),
    ]
    rows = measure_all(samples, CHOSEN, shuffle=True).rows
    assert [row.key for row in rows] == ["short", "faceless", "broken"]
    for row, words in zip(rows, ("at least 10", "no face is found", "broken"), strict=True):
        assert words in row.failure and not row.values


def test_a_stage_set_is_measured_with_its_baselines(shard: Path) -> None:
    samples = list(read_stage(shard))
    assert [sample.key for sample in samples] == ["tiny-000000", "tiny-000001"]
    assert samples[0].people[0].truth is not None and samples[0].people[0].phones[0][0] == "AA"
    found = measure_all(samples, CHOSEN, [EFID], shuffle=True)
    assert [row.failure for row in found.rows] == ["", ""]
    assert all(row.values["lip r"] > 0.8 and row.strip.startswith("data:image/jpeg") for row in found.rows)  # type: ignore[operator]
    assert len(found.shuffled) == 2
    assert max(row.values["lip r"] for row in found.shuffled) < 0.8  # type: ignore[type-var, operator]
    (features,) = found.features["e-fid-mesh"]
    assert [part.shape for part in features] == [(60, 76), (60, 76)]
    assert distance(features, features) == pytest.approx(0, abs=1e-6)
    lacking = distances([EFID], found.features, {})
    assert lacking.values["E-FID (mesh)"] is None and "both sets" in lacking.notes[0]
    apart = among([EFID], found.features)
    assert apart.values["E-FID (mesh)"] > 0 and not apart.intervals and "against the others" in apart.notes[0]  # type: ignore[operator]


def test_what_was_asked_for_is_read_with_a_set(shard: Path, tmp_path: Path) -> None:
    """When a gesture happens is known of the set's own videos; no prompt says it to a model."""
    own, made = (next(iter(read_stage(shard, videos=videos))) for videos in (None, tmp_path))
    assert [person.asked for person in own.people] == [(), (AskedGesture("nod", 0.5),)]
    assert [person.asked for person in made.people] == [(), (AskedGesture("nod", None),)]


def test_missing_videos_of_a_model_are_named(shard: Path, tmp_path: Path) -> None:
    rows = measure_all(open_set(shard, videos=tmp_path), CHOSEN).rows
    assert all("There is no video" in row.failure for row in rows)
    with pytest.raises(InputError, match="no folder"):
        open_set(shard, videos=tmp_path / "nowhere")


def test_every_metric_says_what_it_is() -> None:
    for metric in (*metrics().values(), *set_metrics().values()):
        assert metric.columns and metric.needs
        assert not metric.weights or re.search("Apache-2.0|MIT|BSD|CC0", metric.weights), metric.name
        assert metric.source or not metric.weights, metric.name
        for column in metric.columns:
            assert column.meaning and column.direction in ("higher", "lower", "zero", "one", "none")
    names = [c.name for m in (*metrics().values(), *set_metrics().values()) for c in m.columns]
    assert len(names) == len(set(names))
    with pytest.raises(InputError, match="no metric beauty"):
        choose("beauty")
    assert {metric.name for metric in choose("all")[1]} == set(set_metrics())


def test_face_units_follow_what_faces_do(filmed: Filmed, seen: Observation) -> None:
    found = [UnitExpression().coefficients(seen, k) for k in range(2)]
    for k, units in enumerate(found):
        assert units.shape == (len(filmed.frames), 52) and 0 <= units.min() <= units.max() <= 1
        assert np.corrcoef(units[:, FACE_UNITS.index("jawOpen")], filmed.moves[k])[0, 1] > 0.8
        assert (units[:, FACE_UNITS.index("tongueOut")] == 0).all()
    assert distance(found, found) == pytest.approx(0, abs=1e-6)
    calmer = [[units.mean(0) + share * (units - units.mean(0)) for units in found] for share in (0.7, 0.0)]
    apart = [0.0, *(distance(made, found) for made in calmer)]
    assert apart == sorted(apart) and apart[1] > 1e-4


def test_blinks_are_counted_as_they_begin(seen: Observation) -> None:
    lids = np.zeros(100)
    assert count_blinks(lids) == 0
    for first, last in ((0, 2), (20, 24), (60, 62), (97, 100)):  # shut from the start: that is no blink
        lids[first:last] = 0.8
    assert count_blinks(lids) == 3
    assert BLINKS.measure(seen) == {"blinks": 0.0}  # open all along
