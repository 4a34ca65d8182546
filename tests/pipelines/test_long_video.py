"""Videos of any length: as long as the sound, joined without a seam, resumable, constant in memory."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from talkies.domain.errors import InputError
from talkies.pipelines.inputs import GenerationRequest
from talkies.pipelines.output import Progress, SegmentFrames
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.sampling.anchoring import rgb_to_lab
from talkies.sampling.noise import cpu_generator
from tiny_pipeline import stripes, voice

PROMPT = "two people talk"


def quarters(people: int) -> np.ndarray:
    """A quarter of the picture each: [P, 48, 48]."""
    masks = np.zeros((4, 48, 48), dtype=bool)
    for person, (top, left) in enumerate(itertools.product((0, 24), repeat=2)):
        masks[person, top : top + 24, left : left + 24] = True
    return masks[:people]


def long_request(pipeline: MultiTalkPipeline, picture: Image.Image, seconds: float, people: int) -> GenerationRequest:
    """Segments of the real length, one step each, on the smallest picture; everybody but the last speaks shorter."""
    settings = dataclasses.replace(
        pipeline.defaults, num_inference_steps=1, size=32 * 32, segment_frames=81, motion_frames=5
    )
    voices = [voice(seconds * (person + 1) / people, person) for person in range(people)]
    masks = quarters(people) if people > 1 else None
    return GenerationRequest(
        picture, voices, prompt=PROMPT, person_masks=masks, generator=cpu_generator(0), settings=settings
    )


FAST = {(0.2, 1), (0.2, 3), (1, 4), (3.24, 2), (3.28, 1), (3.28, 4), (10, 3), (39.9, 2), (41, 4)}


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("seconds", "people"),
    [
        pytest.param(*case, marks=() if case in FAST else pytest.mark.slow)
        for case in itertools.product((0.2, 1, 3.24, 3.28, 10, 39.9, 41, 600), (1, 2, 3, 4))
    ],
)
def test_length_is_the_longest_voices(
    small: MultiTalkPipeline, picture: Image.Image, seconds: float, people: int
) -> None:
    frames, next_start = 0, 0
    for part in small.stream(long_request(small, picture, seconds, people)):
        assert part.start == next_start
        assert part.frames.dtype == np.uint8 and part.frames.shape[2:] == (32, 32, 3)
        frames += part.frames.shape[1]
        next_start += part.frames.shape[1]
    assert abs(frames - 25 * seconds) <= 0.5


def run_latents(pipeline: MultiTalkPipeline, picture: Image.Image, **changes: object) -> list[torch.Tensor]:
    settings = dataclasses.replace(pipeline.defaults, size=32 * 32, **changes)
    voices = [voice(1.0), voice(0.7, 1)]
    arguments = {"person_masks": stripes(2), "settings": settings, "output_type": "latent"}
    return pipeline(picture, voices, PROMPT, generator=cpu_generator(3), **arguments).frames


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("known", ["renoised", "clean"])
@pytest.mark.parametrize("kind", ["wan", "small"])
def test_latents_go_over_unchanged(
    kind: str, known: str, sink: bool, picture: Image.Image, request: pytest.FixtureRequest
) -> None:
    pipeline = request.getfixturevalue(kind)
    segments = run_latents(
        pipeline, picture, hand_over="latents", known_latents=known, latent_sink=sink, motion_frames=9
    )
    assert len(segments) >= 2
    for before, after in itertools.pairwise(segments):
        # Nine frames: one of its own, and two latent frames of four.
        torch.testing.assert_close(after[:, :, 1:3], before[:, :, -2:], atol=1e-6, rtol=0)
    if sink:
        torch.testing.assert_close(segments[1][:, :, 0], segments[-1][:, :, 0], atol=1e-5, rtol=0)


def test_every_choice_matters(wan: MultiTalkPipeline, picture: Image.Image) -> None:
    base = run_latents(wan, picture)
    for change in (
        {"hand_over": "pixels"},
        {"known_latents": "clean"},
        {"latent_sink": True},
        {"image_tokens": "previous"},
        {"motion_frames": 9},
        {"hand_over": "pixels", "colour_strength": 1.0, "colour_feedback": True},
    ):
        changed = run_latents(wan, picture, **change)
        assert torch.equal(changed[0], base[0])
        assert changed[1].shape != base[1].shape or (changed[1] - base[1]).abs().max() > 1e-5, change


def test_sink_needs_motion(wan: MultiTalkPipeline, picture: Image.Image) -> None:
    with pytest.raises(InputError, match="only motion frame"):
        run_latents(wan, picture, latent_sink=True, motion_frames=1)
    with pytest.raises(InputError, match="feedback"):
        run_latents(wan, picture, hand_over="latents", colour_strength=1.0, colour_feedback=True)


def test_colours_stay_the_references(small: MultiTalkPipeline, picture: Image.Image) -> None:
    settings = dataclasses.replace(small.defaults, colour_strength=1.0)
    frames = small(
        picture, [voice(1.0)], PROMPT, generator=cpu_generator(0), settings=settings, output_type="pt"
    ).frames[0]  # [F, 3, H, W]
    reference = torch.from_numpy(np.array(picture.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1) / 255
    want = rgb_to_lab(reference.float()).mean((-2, -1))
    assert (rgb_to_lab(frames).mean((-2, -1)) - want).abs().max() < 2.0


class StoppedError(Exception):
    """A run that was killed."""


def stopping_at(step: int):
    def stop(progress: Progress) -> None:
        if progress.done == step:
            raise StoppedError

    return stop


def keep(parts: dict[int, np.ndarray], stream: object) -> None:
    """What a caller does with the parts: keep them by number."""
    for part in stream:  # type: ignore[attr-defined]
        assert isinstance(part, SegmentFrames)
        parts[part.index] = part.frames


@pytest.mark.parametrize("kind", ["wan", "small"])
def test_stopped_and_resumed_is_the_same(
    kind: str, picture: Image.Image, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pipeline = request.getfixturevalue(kind)
    settings = dataclasses.replace(pipeline.defaults, size=32 * 32, colour_strength=0.3)

    def job() -> GenerationRequest:
        voices = [voice(1.2), voice(0.9, 1)]
        return GenerationRequest(
            picture, voices, prompt=PROMPT, person_masks=stripes(2), generator=cpu_generator(7), settings=settings
        )

    whole: dict[int, np.ndarray] = {}
    keep(whole, pipeline.stream(job()))
    assert len(whole) == 4
    parts: dict[int, np.ndarray] = {}
    for step in (1, 4, 7, 8):  # in the first segment, at the end of the second, in the fourth, at the very end
        with pytest.raises(StoppedError):
            keep(parts, pipeline.stream(job(), stopping_at(step), tmp_path, resume=True))
    keep(parts, pipeline.stream(job(), None, tmp_path, resume=True))
    assert parts.keys() == whole.keys()
    for index, frames in whole.items():
        np.testing.assert_array_equal(parts[index], frames)
    assert list(pipeline.stream(job(), None, tmp_path, resume=True)) == []  # nothing is left to do
    again: dict[int, np.ndarray] = {}
    keep(again, pipeline.stream(job(), None, tmp_path))
    assert again.keys() == whole.keys()  # without resume it starts over


def test_another_runs_state_is_refused(small: MultiTalkPipeline, picture: Image.Image, tmp_path: Path) -> None:
    def job(**changes: object) -> GenerationRequest:
        base = GenerationRequest(picture, [voice(0.8)], prompt=PROMPT, generator=cpu_generator(7))
        return dataclasses.replace(base, **changes)

    for _ in small.stream(job(), None, tmp_path):
        pass
    for changes in (
        {"prompt": "a dog"},
        {"audio": [voice(0.8, 1)]},
        {"generator": cpu_generator(8)},
        {"image": picture.rotate(90)},
        {"settings": dataclasses.replace(small.defaults, audio_guidance_scale=3.0)},
    ):
        with pytest.raises(InputError, match=r"other inputs"):
            next(iter(small.stream(job(**changes), None, tmp_path, resume=True)))
    weight = small.transformer.proj_out.weight
    before = weight.data
    weight.data = before + 0.01  # trained further
    with pytest.raises(InputError, match=r"other inputs"):
        next(iter(small.stream(job(), None, tmp_path, resume=True)))
    weight.data = before
    for damage in ("{}", "not json", (tmp_path / "state.json").read_text().replace("segment-", "../segment-")):
        (tmp_path / "state.json").write_text(damage)
        with pytest.raises(InputError, match=r"damaged|another version"):
            list(small.stream(job(), None, tmp_path, resume=True))


WORKER = """
import dataclasses, resource, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import numpy as np, torch
from PIL import Image
torch.set_num_threads(1)
from tiny_pipeline import reference_pipeline
from test_long_video import long_request
pipeline = reference_pipeline()
picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8))
out = Path({out!r})
voices = [np.memmap(out / name, dtype=np.float32, mode="r") for name in ("left.f32", "right.f32")]
request = dataclasses.replace(long_request(pipeline, picture, 0.2, 2), audio=voices)
for part in pipeline.stream(request, None, out / "state", resume=True):
    np.save(out / f"{{part.index}}.tmp.npy", part.frames)
    (out / f"{{part.index}}.tmp.npy").replace(out / f"{{part.index}}.npy")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def start(seconds: int, out: Path) -> subprocess.Popen[str]:
    """Renders in a process of its own, from voices on the disk; prints its peak memory at the end."""
    out.mkdir(exist_ok=True)
    for name, seed, length in (("left.f32", 0, seconds), ("right.f32", 1, seconds // 2)):
        with (out / name).open("wb") as file:
            for _ in range(length):
                file.write(voice(1, seed).tobytes())
    source = WORKER.format(folder=str(Path(__file__).parent), out=str(out))
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """SIGKILL, some way into the run, again and again; the parts end up the same."""
    began = time.monotonic()
    assert start(12, tmp_path / "whole").wait() == 0
    whole = time.monotonic() - began
    broken = tmp_path / "broken"
    kills = 0
    for share in itertools.chain([0.5, 0.6, 0.7, 0.8], itertools.repeat(6.0)):
        seconds = share * whole
        process = start(12, broken)
        try:
            process.wait(timeout=seconds)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert process.returncode == 0 and kills
    names = sorted(path.name for path in (tmp_path / "whole").glob("[0-9]*.npy"))
    assert len(names) == 4
    for name in names:
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Ten minutes against ten seconds: the peak of the whole process, voices included."""
    peaks = []
    for seconds in (10, 600):
        output, _ = start(seconds, tmp_path / str(seconds)).communicate()
        peaks.append(int(output.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0], peaks
    print(f"peak memory at 10 s and 600 s: {peaks}")  # noqa: T201
