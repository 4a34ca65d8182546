"""Cutting, following, framing, listening and judging, each on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from filmed import find_discs, scene, vowels
from talkies.data.captions import PlainCaptions, Seen
from talkies.data.framing import find_window, framing_name
from talkies.data.quality import measure_picture, measure_sound, sharpness
from talkies.data.settings import FootageSettings, QualityLimits
from talkies.data.shots import shrink, stretches, with_cuts
from talkies.data.speakers import Given, Moment, OneFace, VoicesGiven, speech_frames, turns_of
from talkies.data.tracking import FaceTrack, track_faces
from talkies.data.verdict import LeftOutError
from talkies.domain.clip import FrameSize, is_clip_length
from talkies.domain.errors import InputError
from talkies.media.people import Face

PICTURE = FrameSize(160, 120)


def flat(length: int, level: int) -> list[np.ndarray]:
    return [np.full((32, 32, 3), level, np.uint8)] * length


def box_track(*boxes: tuple[float, float, float, float]) -> FaceTrack:
    return FaceTrack(np.array(boxes, np.float32), np.zeros(len(boxes), np.float32), 0.9, 1.0)


def test_tiles_are_means() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (70, 95, 3), dtype=np.uint8)
    assert np.allclose(shrink(frame)[0, 0], frame[:2, :2].reshape(-1, 3).mean(0))
    assert shrink(frame).mean() == pytest.approx(frame.mean(), rel=0.02)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 60), min_size=1, max_size=5))
def test_shots_are_cut_where_they_change(lengths: list[int]) -> None:
    frames = [frame for k, length in enumerate(lengths) for frame in flat(length, 200 * (k % 2))]
    cuts = [k for k, (_, cut) in enumerate(with_cuts(frames)) if cut]
    assert cuts == np.cumsum(lengths)[:-1].tolist()
    found = list(stretches(frames, 9, 25))
    starts = [0, *cuts]
    for stretch in found:
        assert is_clip_length(len(stretch.frames)) and 9 <= len(stretch.frames) <= 25
        begin = starts[stretch.shot]
        assert begin <= stretch.first <= stretch.first + len(stretch.frames) <= begin + lengths[stretch.shot]
        assert (stretch.frames == stretch.frames[0]).all()
    for shot, length in enumerate(lengths):  # nothing usable is lost
        used = sum(len(s.frames) for s in found if s.shot == shot)
        assert length - used < 4 + 9


def test_a_moving_camera_is_no_cut() -> None:
    wide = np.random.default_rng(0).integers(0, 255, (40, 200, 3), dtype=np.uint8)
    frames = [np.ascontiguousarray(wide[:, 3 * k : 3 * k + 40]) for k in range(40)]
    assert not any(cut for _, cut in with_cuts(frames))


def test_two_faces_are_followed_from_left_to_right() -> None:
    frames = scene(33, [(110, 60), (45, 60)])
    left, right = track_faces(frames, 5, 4, find_discs)
    assert left.boxes.shape == (33, 4)
    assert left.seen == right.seen == 1
    for time in range(0, 33, 3):
        truth = sorted(find_discs(Image.fromarray(frames[time])), key=lambda f: f.left)
        for track, face in zip((left, right), truth, strict=True):
            assert abs(track.face(time).centre[0] - face.centre[0]) < 2


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (scene(33, []), "no face"),
        (np.concatenate([scene(17, [(40, 60)]), scene(16, [])]), "somebody comes or goes"),
        (np.concatenate([scene(17, [(40, 60)]), scene(16, [(120, 60)])]), "somebody comes or goes"),
        (scene(33, [(40, 60), (110, 60)]), "too many people"),
    ],
)
def test_who_cannot_be_followed(frames: np.ndarray, reason: str) -> None:
    with pytest.raises(LeftOutError) as error:
        track_faces(frames, 5, 1, find_discs)
    assert error.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 140), st.floats(0, 90), st.floats(6, 40)), min_size=1, max_size=3))
def test_windows_hold_every_face_and_stay_inside(corners: list[tuple[float, float, float]]) -> None:
    tracks = [
        box_track(tuple(np.clip((x, y, x + w, y + 1.3 * w), 0, (160, 120, 160, 120)).tolist())) for x, y, w in corners
    ]
    size = FrameSize(160, 96)
    try:
        window = find_window(tracks, PICTURE, size)
    except LeftOutError as error:
        assert error.reason == "people do not fit"
        return
    assert window.width / window.height == pytest.approx(160 / 96)
    assert window.left >= -1e-3 and window.left + window.width <= 160 + 1e-3
    assert window.top >= -1e-3 and window.top + window.height <= 120 + 1e-3
    for track in tracks:
        moved = window.move(track).boxes[0]
        assert (moved >= -0.1).all() and moved[2] <= 160.1 and moved[3] <= 96.1


def test_windows_cut_what_they_say() -> None:
    frames = scene(2, [(80, 50)])
    (track,) = track_faces(frames, 1, 1, find_discs)
    window = find_window([track], PICTURE, FrameSize(160, 192))
    cut = window.cut(frames)
    assert cut.shape == (2, 192, 160, 3)
    (again,) = track_faces(cut, 1, 1, find_discs)
    assert np.abs(again.boxes - window.move(track).boxes).max() < 2.5
    assert framing_name([again], FrameSize(160, 192)) == "head and shoulders"
    assert framing_name([again], FrameSize(160, 80)) == "close-up"


def test_sharpness_falls_with_blur_and_light_is_seen() -> None:
    picture = Image.fromarray(scene(1, [(80, 60)])[0]).convert("L")
    values = [sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(b)))) for b in (0, 0.7, 1.5, 3)]
    assert values == sorted(values, reverse=True) and values[0] > 4 * values[-1]
    frames = scene(11, [(80, 60)])
    (track,) = track_faces(frames, 5, 1, find_discs)
    good = measure_picture(frames, [track], 1.0)
    good.judge(QualityLimits())
    for change, reason in (
        ({"scale": 0.5}, "too small"), ({"face_height": 0.05}, "small face"), ({"turn": 0.6}, "turned away"),
        ({"sharpness": 1.0}, "blurred"), ({"darkest": 10}, "too dark"), ({"brightest": 250}, "too bright"),
        ({"movement": 0.1}, "still picture"), ({"face_score": 0.2}, "unsure face"),
    ):  # fmt: skip
        with pytest.raises(LeftOutError) as error:
            replace(good, **change).judge(QualityLimits())
        assert error.value.reason == reason
    still = measure_picture(np.repeat(frames[:1], 11, 0), [box_track(*[tuple(track.boxes[0])] * 11)], 1.0)
    assert still.movement == 0


def test_speech_is_told_from_noise() -> None:
    speech = vowels(2.0)
    noise = 0.02 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    sound = np.concatenate([noise, speech, noise])
    flags = speech_frames(sound)
    assert flags.shape == (150,)
    assert flags[55:95].mean() > 0.9 and flags[:45].mean() < 0.1 and flags[110:].mean() < 0.1
    quality = measure_sound([sound], flags[None])
    quality.judge(QualityLimits())
    assert quality.speech == pytest.approx(1 / 3, abs=0.05)
    assert quality.speech_to_noise is not None and quality.speech_to_noise > 6
    for changed, reason in (
        (np.clip(sound * 50, -1, 1), "clipped sound"), (sound * 1e-4, "too quiet"),
        (sound + 20 * np.concatenate([noise] * 3), "noisy sound"),
    ):  # fmt: skip
        with pytest.raises(LeftOutError) as error:
            measure_sound([changed], flags[None]).judge(QualityLimits(clipped=0.05))
        assert error.value.reason == reason


def moment(people: int, start: float = 1.0) -> Moment:
    tracks = tuple(box_track(*[(40.0 * k, 0, 40.0 * k + 30, 40)] * 50) for k in range(people))
    return Moment(start, np.zeros((50, 4, 4, 3), np.uint8), tracks, np.ones(32_000, np.float32), np.ones(50, bool))


def test_one_face_has_the_sound_two_have_not() -> None:
    assert OneFace()(moment(1)).voices[0].sum() == 32_000
    with pytest.raises(LeftOutError, match="who speaks is unknown"):
        OneFace()(moment(2))


def test_turns_share_out_the_sound(tmp_path: Path) -> None:
    video = tmp_path / "duo.mp4"
    assert VoicesGiven.beside(video) is None
    beside = tmp_path / "duo.voices.json"
    beside.write_text('{"turns": [{"person": 0, "start": 0, "end": 2}, {"person": 1, "start": 2, "end": 9}]}')
    given = VoicesGiven.beside(video)
    assert given is not None and given.count == 2
    spoken = Given(given)(moment(2))
    assert spoken.speaking.tolist() == [[True] * 25 + [False] * 25, [False] * 25 + [True] * 25]
    assert np.abs(spoken.voices[0] + spoken.voices[1] - 1).max() <= 1
    assert not spoken.voices[0][17_000:].any() and not spoken.voices[1][:15_000].any()
    with pytest.raises(LeftOutError, match="voices and faces differ"):
        Given(given)(moment(1))
    for text in ('{"turns": [], "voices": ["a.wav"]}', "{}", "[", '{"voices": []}'):
        beside.write_text(text)
        with pytest.raises(InputError, match=r"duo\.voices\.json"):
            VoicesGiven.beside(video)


def test_pauses_between_words_do_not_end_a_turn() -> None:
    flags = np.zeros((2, 50), bool)
    flags[0, 3:10] = flags[0, 14:20] = flags[0, 40:] = flags[1, 22:30] = True
    assert [(t["person"], t["start"], t["end"]) for t in turns_of(flags)] == [
        (0, 0.12, 0.8), (1, 0.88, 1.2), (0, 1.6, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize("speakers", [(True,), (True, False), (True, False, True), (True,) * 4, (False,) * 6])
def test_captions_are_paraphrases_that_count(speakers: tuple[bool, ...]) -> None:
    captions = PlainCaptions()(Seen(Image.new("RGB", (8, 8)), "close-up", speakers))
    assert len(set(captions)) == len(captions) >= 2
    assert captions[-1].count("The person") == len(speakers)
    assert captions[-1].count("talking.") >= sum(speakers)


def test_settings_that_make_no_sense() -> None:
    for change in ({"shortest": 32}, {"shortest": 57, "longest": 33}, {"size": (100, 100)}, {"name": "A b"}):
        with pytest.raises(ValueError):
            FootageSettings.model_validate(change)
    assert FootageSettings().frame_size(2) == FrameSize(320, 192)
    assert Face(0, 0, 1, 1, 1).width == 1
