"""Where samples come from: the stage's shards, single videos with their voices, and folders of real footage."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.evaluation.faces import ArrayVideo, Blocks
from talkies.evaluation.mouth import Mouth, free_mouth, true_mouth
from talkies.evaluation.phones import phone_opening, read_phones
from talkies.evaluation.sample import AskedGesture, Person, Sample
from talkies.evaluation.video import VideoFile
from talkies.media.resampling import SAMPLING_RATE
from talkies.media.shards import decode_video, read_clips

Labels = Mapping[str, NDArray[Any]]

#: What `talkies evaluate run` notes beside its videos.
RUNS = "runs.json"
#: And what it made them with, as `MAKING.json`.
MAKING = "videos"
#: Where it puts, within the folder of the videos, those of the same clips with exchanged voices.
EXCHANGED = "exchanged"
#: Seconds of sound that are read at most.
MAX_SECONDS = 3600
VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v")


def read_stage(folder: Path, name: str = "", videos: Path | None = None, limit: int | None = None) -> Iterator[Sample]:
    """Samples of shards written by `talkies stage render`.

    Args:
        folder: Of the shards. name: Only shards whose names begin so.
        videos: Folder with `KEY.mp4` made by a model; without it the shards' own videos: the ground truth.
        limit: At most this many.

    Yields:
        One sample per clip; one that is broken, or whose video is missing, is yielded all the same and fails when it is
        looked at.

    Raises:
        InputError: There are no shards.
    """
    shards = sorted(path for path in folder.glob(f"{name}*.tar") if ".part" not in path.suffixes)
    if not shards:
        raise InputError(f"There are no shards {name}*.tar in {folder}.", "Make some: talkies stage render --out DIR")
    runs = read_runs(videos)
    clips = (clip for shard in shards for clip in read_clips(shard))
    for clip in islice(clips, limit):
        yield _stage_sample(clip, videos, runs)


def read_runs(videos: Path | None) -> dict[str, dict[str, float]]:
    """What `talkies evaluate run` noted about making each video; empty where there is no such note."""
    path = None if videos is None else videos / RUNS
    if path is None or not path.is_file():
        return {}
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): {str(n): float(v) for n, v in run.items()} for key, run in noted.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        raise InputError(f"{path} is no note of a run.", "Remove it, or make the videos again.") from None


def read_making(videos: Path | None) -> dict[str, str]:
    """What `talkies evaluate run` noted about the settings of a folder's videos; empty where there is no such note."""
    path = None if videos is None else videos / f"{MAKING}.json"
    if path is None or not path.is_file():
        return {}
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{path} is no note of a run.", "Remove it, or make the videos again.") from None


def _stage_sample(clip: dict[str, bytes], videos: Path | None, runs: Mapping[str, dict[str, float]]) -> Sample:
    key = clip["key"].decode()
    try:
        return _whole_sample(key, clip, videos, runs)
    except ImportError:
        raise
    except Exception as error:  # of the decoders of pictures, sounds, arrays and JSON: a broken clip ends no run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        return Sample(key, ArrayVideo(np.zeros((0, 1, 1, 3), np.uint8)), (), failure=f"{key} is broken ({reason}).")


def _whole_sample(
    key: str, clip: dict[str, bytes], videos: Path | None, runs: Mapping[str, dict[str, float]]
) -> Sample:
    manifest = json.loads(clip["json"])
    height, width = int(manifest["height"]), int(manifest["width"])
    truth = decode_video(clip["mp4"])
    video: Blocks = ArrayVideo(truth) if videos is None else VideoFile(videos / f"{key}.mp4")
    with np.load(io.BytesIO(clip["npz"]), allow_pickle=False) as labels:
        people = tuple(
            replace(
                _stage_person(k, {n: labels[f"p{k}/{n}"] for n in _WANTED}, clip[f"p{k}.wav"], (height, width)),
                asked=asked_gestures(entry.get("gestures", ()), given=videos is None),
            )
            for k, entry in enumerate(manifest["people"])
        )
    other = None if videos is None else videos / EXCHANGED / f"{key}.mp4"
    exchanged = VideoFile(other) if other is not None and other.is_file() else None
    return Sample(key, video, people, str(manifest["captions"][0]), truth[0], runs.get(key, {}), exchanged=exchanged)


def asked_gestures(entries: Sequence[Mapping[str, Any]], given: bool) -> tuple[AskedGesture, ...]:
    """Of a manifest's `gestures`; when they should happen is known of the set's own videos alone (`given`), since no
    caption says it."""
    return tuple(
        AskedGesture(
            str(entry["name"]), (float(entry["stroke_start"]) + float(entry["stroke_end"])) / 2 if given else None
        )
        for entry in entries
    )


_WANTED = ("lip_opening", "lip_width", "points", "face_box", "phone_labels", "phone_times")


def _stage_person(number: int, labels: Labels, wav: bytes, size: tuple[int, int]) -> Person:
    height, width = size
    box = np.median(labels["face_box"].astype(np.float64), axis=0) / np.array([width, height, width, height])
    return Person(
        name=f"person {number + 1}",
        voice=read_sound(wav),
        truth=mouth_of(labels),
        face_box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        phones=phones_of(labels),
    )


def read_truth(path: Path) -> list[tuple[Mouth, tuple[tuple[str, float, float], ...]]]:
    """Lips and phones of everybody in a label file: a clip's (`p0/lip_opening`, ...) or a track's (`lip_opening`).

    Raises:
        InputError: It is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            prefixes = ("",) if "lip_opening" in names else tuple(f"p{k}/" for k in range(99))
            found = [
                {name: file[prefix + name] for name in _WANTED if prefix + name in names}
                for prefix in prefixes
                if prefix + "lip_opening" in names
            ]
        if not found:
            raise KeyError("lip_opening")
        return [(mouth_of(labels), phones_of(labels)) for labels in found]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} holds no known lips ({' '.join(str(error).split())[:80]}).",
            "Give the .npz of a track or a clip of `talkies stage`, or CSV curves.",
        ) from None


def mouth_of(labels: Labels) -> Mouth:
    """Known lips from labels."""
    opening = labels["lip_opening"]
    return true_mouth(opening, labels.get("lip_width", np.full(len(opening), np.nan)), labels["points"])


def phones_of(labels: Labels) -> tuple[tuple[str, float, float], ...]:
    """Label, start and end in seconds."""
    if "phone_labels" not in labels:
        return ()
    times = labels["phone_times"].astype(np.float64).reshape(-1, 2)
    return tuple((str(n), float(a), float(b)) for n, (a, b) in zip(labels["phone_labels"], times, strict=True))


def read_curve(path: Path) -> Mouth:
    """A lip opening from a text file: one number per frame, or a CSV whose last column is taken; its unit is free.

    Raises:
        InputError: It is no such file.
    """
    try:
        rows = [line.replace(";", ",").split(",")[-1] for line in path.read_text(encoding="utf-8").splitlines() if line]
        values = [float(row) for row in rows[_header(rows) :]]
    except (OSError, ValueError, UnicodeDecodeError):
        values = []
    if len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"{path} holds no curve.", "Write one number per frame and line.")
    return free_mouth(np.array(values, np.float32))


def _header(rows: list[str]) -> int:
    """1 if the first row is a title."""
    try:
        float(rows[0])
    except (ValueError, IndexError):
        return 1
    return 0


def read_sound(source: Path | bytes) -> NDArray[np.float32]:
    """A voice, `[n]` at 16 kHz: of a sound or video file, or of the bytes of a WAV file at 16 kHz.

    Raises:
        InputError: No sound, broken, or too long.
    """
    if isinstance(source, bytes):
        import soundfile

        samples, rate = soundfile.read(io.BytesIO(source), dtype="float32", always_2d=True)
        if rate != SAMPLING_RATE:
            raise InputError(f"A voice at {rate} Hz, not {SAMPLING_RATE}.")
        return np.asarray(samples.mean(1), np.float32)
    from talkies.media.audio import decode

    parts, count = [], 0
    for block in decode(source, SAMPLING_RATE):
        parts.append(block[:, 0])
        count += len(block)
        if count > MAX_SECONDS * SAMPLING_RATE:
            raise InputError(f"{source.name} is longer than {MAX_SECONDS} s.", "Cut it first.")
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def read_single(video: Path, voices: Sequence[Path] = (), truths: Sequence[Path] = ()) -> Sample:
    """One video and who is in it, left to right.

    Args:
        video: The file.
        voices: One per person, left to right; a file named `silence` that does not exist: nothing is said. Without
            any: one person with the video's own sound.
        truths: Known lips, left to right: `.npz` of a clip (everybody) or of tracks (one each), `.lab` phones,
            or text curves.

    Raises:
        InputError: There is no such video, another file cannot be read, or the numbers do not agree.
    """
    if not video.is_file():
        raise InputError(f"There is no video {video}.")
    known: list[tuple[Mouth, tuple[tuple[str, float, float], ...]]] = []
    for path in truths:
        known += _known(path)
    sounds: list[NDArray[np.float32] | None]
    failure = ""
    if voices:
        sounds = [None if p.name == "silence" and not p.exists() else read_sound(p) for p in voices]
    elif known:
        sounds = [None] * len(known)
    else:
        sound, failure = _own_sound(video)
        sounds = [sound]
    if known and len(known) != len(sounds):
        raise InputError(f"{len(known)} people have known lips, {len(sounds)} a voice.", "Give one of each per person.")
    people = tuple(
        Person(f"person {k + 1}", sound, *((known[k][0], None, known[k][1]) if known else ()))
        for k, sound in enumerate(sounds)
    )
    return Sample(video.stem, VideoFile(video), people, failure=failure)


def _own_sound(video: Path) -> tuple[NDArray[np.float32] | None, str]:
    """The voice of a video of one person, or why there is none: nothing can be judged by a silence."""
    try:
        sound = read_sound(video)
    except InputError as error:
        return None, str(error)
    return (None, f"{video.name} is silent.") if Person("", sound).silent else (sound, "")


def _known(path: Path) -> list[tuple[Mouth, tuple[tuple[str, float, float], ...]]]:
    """Known lips by the kind of file."""
    if path.suffix.lower() == ".npz":
        return read_truth(path)
    if path.suffix.lower() == ".lab":
        phones = read_phones(path)
        opening = phone_opening(phones, max(1, round(max(end for _, _, end in phones) * FPS)))
        return [(free_mouth(opening), phones)]
    return [(read_curve(path), ())]


def read_folder(folder: Path, videos: Path | None = None, limit: int | None = None) -> Iterator[Sample]:
    """A folder of real footage of single people (HDTF, CelebV-HQ, EMTD): each video's own sound is the voice.

    One that has none is yielded all the same and fails when it is looked at.

    Args:
        folder: Searched with all below it. videos: Folder with the model's `NAME.mp4`. limit: At most this many.

    Raises:
        InputError: There are no videos.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise InputError(f"There are no videos in {folder}.", f"Known kinds: {' '.join(VIDEO_SUFFIXES)}.")
    for path in paths[:limit]:
        shown = path if videos is None else videos / f"{path.stem}.mp4"
        voice, failure = _own_sound(path)
        yield Sample(path.stem, VideoFile(shown), (Person("person 1", voice),), failure=failure)


def open_set(folder: Path, name: str = "", videos: Path | None = None, limit: int | None = None) -> Iterator[Sample]:
    """Samples of a folder: of shards if there are any, else of footage.

    Raises:
        InputError: The folder or what should be in it is missing.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    if videos is not None and not videos.is_dir():
        raise InputError(f"There is no folder {videos}.", "Generate the set's videos first.")
    if any(folder.glob("*.tar")):
        return read_stage(folder, name, videos, limit)
    return read_folder(folder, videos, limit)
