"""Videos that cannot be measured are rows that say why, wherever they come from; halves, without people."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.evaluation.faces import ArrayVideo
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.protocols import halves
from talkies.evaluation.runner import measure_all
from talkies.evaluation.sample import Observation, Person, Sample
from talkies.evaluation.set_metric import SetMetric, distances
from talkies.evaluation.sets import open_set, read_single
from talkies.media.shards import clip_members, encode_wav, write_shard


def film(path: Path, size: tuple[int, int] = (48, 64), voice: np.ndarray | None = None) -> Path:
    """Twenty grey frames, with sound where there is some."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        sound = None if voice is None else container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((*size, 3), 90, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
        if sound is not None and voice is not None:
            frame = av.AudioFrame.from_ndarray(voice[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            for part in (frame, None):
                container.mux(sound.encode(part))
    return path


def test_every_video_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    footage, shards = tmp_path / "footage", tmp_path / "shards"
    footage.mkdir(), shards.mkdir()
    film(footage / "mute.mp4")
    film(footage / "quiet.mp4", voice=np.zeros(12800))
    small, large = (film(tmp_path / f"{n}.ts", size, np.ones(12800) / 9) for n, size in enumerate([(48, 64), (96, 64)]))
    (footage / "sizes.mp4").write_bytes(small.read_bytes() + large.read_bytes())
    rows = measure_all(open_set(footage), []).rows
    assert [row.key for row in rows] == ["mute", "quiet", "sizes"]
    for row, words in zip(rows, ("mute.mp4", "quiet.mp4 is silent", "changes its size"), strict=True):
        assert words in row.failure
    assert measure_all([read_single(footage / "mute.mp4")], []).rows[0].failure == rows[0].failure
    with pytest.raises(InputError, match="no video"):
        read_single(footage / "nothing.mp4")

    members = clip_members("tiny-0", np.zeros((12, 32, 32, 3), np.uint8), [], {}, {})
    clips = [{**members, "tiny-0.mp4": b"no video"}, {"tiny-1.json": b"{"}, {"tiny-2.p0.wav": encode_wav(np.zeros(9))}]
    write_shard(shards / "tiny-00000.tar", clips)
    for protocol in (lambda sample: (sample,), halves):
        rows = measure_all(open_set(shards), [], protocol=protocol).rows
        assert [row.key for row in rows] == ["tiny-0", "tiny-1", "tiny-2"]
        assert all(f"{row.key} is broken" in row.failure for row in rows)


def pair(key: str, left: int, right: int, voices: tuple[float, float]) -> Sample:
    """A picture of two grey halves, and two people with voices of that loudness."""
    frames = np.concatenate([np.full((12, 32, 32, 3), grey, np.uint8) for grey in (left, right)], axis=2)
    return Sample(key, ArrayVideo(frames), tuple(Person(str(v), np.full(7680, v, np.float32)) for v in voices))


def test_halves_have_distances_and_shuffled_voices_of_their_own() -> None:
    def greys(seen: Observation) -> np.ndarray:
        (block,) = seen.sample.video.blocks()
        return np.repeat(block.mean((1, 2)), 2, axis=0)[:, :1].astype(np.float32)

    def loudness(seen: Observation) -> dict[str, float]:
        return {"loudness": float(seen.voice(0)[0]) if len(seen.sample.people) == 1 else float("nan")}

    column = Column("grey", "lower", "", "of pictures")
    of_sets = [
        SetMetric("people", Column("people", "lower", "", "of halves"), "", greys, of_people=True),
        SetMetric("whole", column, "", greys),
    ]
    chosen = [Metric("loudness", (Column("loudness", "none", "", "of a voice"),), "", loudness)]
    real = measure_all(
        [pair("a", 10, 110, (0.1, 0.3)), pair("b", 10, 110, (0.5, 0.7))], chosen, of_sets, protocol=halves, shuffle=True
    )
    made = measure_all([pair(key, 20, 110, (0.1, 0.3)) for key in "ab"], chosen, of_sets, protocol=halves)
    assert [len(part) for part in real.features["people"]] == [2, 2]
    assert [len(part) for part in real.features["whole"]] == [2]
    values = distances(of_sets, made.features, real.features).values
    assert values["people"] == pytest.approx((10**2 + 0) / 2)  # halves apart, not one distance of all together
    assert values["grey"] == pytest.approx(5**2)
    heard = {row.key: row.values["loudness"] for row in real.shuffled}
    assert heard == {"b": pytest.approx(0.2), "a": pytest.approx(0.6)}
