"""Generates the videos of a set, clip by clip, for `talkies evaluate run`."""

from __future__ import annotations

import hashlib
import json
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path

import yaml

from talkies.cli.report import Report
from talkies.domain.errors import InputError, TalkiesError
from talkies.media.staging import staged


def generate_set(
    model: str,
    folder: Path,
    out: Path,
    name: str,
    limit: int | None,
    steps: int | None,
    seed: int,
    *,
    exchanged: bool = False,
) -> Path:
    """Makes `KEY.mp4` for every clip of a set from its first frame, captions and voices; what exists is kept.

    A clip that cannot be made is reported and left out: measuring then says that its video is missing.

    Args:
        model, steps: As `generate` takes them. folder: Of the shards. out: For the videos.
        seed: Of the first clip; every other one has the next, or all films would sway alike.
        name: Only shards whose names begin so. limit: At most so many clips.
        exchanged: Only clips of two people who both speak, with their voices exchanged.

    Returns:
        The folder, with `runs.json` beside the videos: seconds and peak memory of each, and `videos.json`.

    Raises:
        InputError: There are no shards or no model, or the folder holds videos made with other settings.
    """
    from talkies.evaluation.sets import RUNS, read_runs
    from talkies.media.shards import read_clips

    shards = sorted(path for path in folder.glob(f"{name}*.tar") if ".part" not in path.suffixes)
    if not shards:
        raise InputError(f"There are no shards {name}*.tar in {folder}.", "Make some: talkies stage render --out DIR")
    claim_videos(out, settings_of(model, steps, seed, exchanged))
    report, runs = Report(), read_runs(out)
    clips = (clip for shard in shards for clip in read_clips(shard))
    for number, clip in enumerate(islice(clips, limit)):
        key = clip["key"].decode()
        target = out / f"{key}.mp4"
        if target.exists() or (exchanged and not _two_speak(clip)):
            continue
        began = time.perf_counter()
        try:
            _generate(_exchanged(clip) if exchanged else clip, target, model, steps, seed + number)
        except TalkiesError as error:
            report.note(f"{key}: {error}")
            continue
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        runs[key] = {"seconds": round(time.perf_counter() - began, 2), "peak_bytes": float(peak)}
        with staged(out / RUNS) as scratch:
            scratch.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
        report.say(f"{key}  {runs[key]['seconds']:.1f} s")
    return out


def settings_of(model: str, steps: int | None, seed: int, exchanged: bool) -> dict[str, str]:
    """What decides how videos come out.

    Raises:
        InputError: There is no such model.
    """
    from talkies.cli.model_folder import find_model
    from talkies.provenance.record import weights_source

    found = find_model(model)
    files = [*sorted(found.path.glob("*.json")), *found.weight_files()]
    hashes = "".join(weights_source(path).sha256 for path in files)
    return {
        "model": Path(model).name,
        "weights": hashlib.sha256(hashes.encode()).hexdigest()[:16],
        "steps": "the model's" if steps is None else str(steps),
        "seed": f"{seed}, then one more for every film",
        "voices": "exchanged" if exchanged else "own",
    }


def claim_videos(folder: Path, settings: dict[str, str]) -> None:
    """Makes a folder for videos of these settings, or checks that those in it are.

    Raises:
        InputError: They were made with others, or nobody noted with which.
    """
    from talkies.evaluation.sets import MAKING, read_making
    from talkies.media.shards import claim

    if any(folder.glob("*.mp4")) and not read_making(folder):
        raise InputError(f"No {MAKING}.json says what made the videos in {folder}.", "Choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, MAKING, settings)


def _two_speak(clip: dict[str, bytes]) -> bool:
    people = json.loads(clip["json"])["people"]
    return len(people) == 2 and all(person["text"] for person in people)


def _exchanged(clip: dict[str, bytes]) -> dict[str, bytes]:
    return {**clip, "p0.wav": clip["p1.wav"], "p1.wav": clip["p0.wav"]}


def _generate(clip: dict[str, bytes], target: Path, model: str, steps: int | None, seed: int) -> None:
    from PIL import Image

    from talkies.cli.generate import generate
    from talkies.media.shards import decode_video

    manifest = json.loads(clip["json"])
    with tempfile.TemporaryDirectory(prefix="talkies-") as scratch:
        place = Path(scratch)
        Image.fromarray(decode_video(clip["mp4"])[0]).save(place / "picture.png")
        speakers = []
        quiet = not any(person["text"] for person in manifest["people"])
        for k, person in enumerate(manifest["people"]):
            (place / f"p{k}.wav").write_bytes(clip[f"p{k}.wav"])
            left, top, right, bottom = person["face_box"]
            region = {"point": [round((left + right) / 2, 1), round((top + bottom) / 2, 1)]}
            # where nobody speaks somebody's silence is the voice: it sets the length
            spoken = {"audio": f"p{k}.wav"} if person["text"] or (quiet and k == 0) else {}
            speakers.append({"name": f"person {k + 1}", "region": region, **spoken})
        described = {
            "image": "picture.png", "prompt": manifest["captions"][0], "consent": "synthetic people",
            "speakers": speakers,
        }  # fmt: skip
        (place / "conversation.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
        generate(
            conversation=place / "conversation.yaml",
            output=target,
            model=model,
            seed=seed,
            steps=steps,
            seconds=manifest["frames"] / 25,
            size=f"{manifest['width']}x{manifest['height']}",
            no_credentials=True,
            quiet=True,
        )
