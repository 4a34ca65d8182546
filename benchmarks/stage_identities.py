"""How distinct the stage's people are to a face recogniser that never saw renders.

Needs `pip install dlib-bin` and `pip install --no-deps face-recognition-models`. Every person is pictured twice, in
different light, attitude and expression; dlib's recogniser turns each picture into 128 numbers. Training people are the
first `--people` seeds; test people are those of the test sets and the first 100 test seeds, as they are filmed.
`--choose` prints who of them stands in for whom (`talkies.stage.stand_ins`). `--keep` goes on where an interrupted run
stopped.

    python benchmarks/stage_identities.py --people 500 --test --assets DIR --keep numbers.npz
    python benchmarks/stage_identities.py --people 500 --choose --assets DIR --keep numbers.npz
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
from collections.abc import Iterable
from pathlib import Path

import dlib
import numpy as np

from talkies.stage.camera import Camera
from talkies.stage.clips import SETS, plan_clip
from talkies.stage.figure import Figure
from talkies.stage.identity import FIRST_TEST_SEED, Identity
from talkies.stage.light import Light
from talkies.stage.performance import FACE_UNITS, Performance
from talkies.stage.renderer import Renderer, measure
from talkies.stage.stand_ins import APART, STAND_INS, stand_in

SIDE = 256
#: Two pictures count as the same person below this distance; half of all pairs of one person are within 0.25.
SAME = 0.3
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    {"jawOpen": 0.16, "mouthStretchLeft": 0.5, "mouthStretchRight": 0.5},
)


class Recogniser:
    """dlib's landmarks and face embedding."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("pip install --no-deps face-recognition-models")
        models = Path(spec.submodule_search_locations[0]) / "models"
        self.landmarks = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self.network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
        self.detector = dlib.get_frontal_face_detector()

    def embed(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The largest face found, or the given box where none is."""
        found = self.detector(picture, 1)
        x0, y0, x1, y1 = (int(v) for v in box)
        place = max(found, key=lambda r: r.area()) if found else dlib.rectangle(x0, y0, x1, y1)
        return np.array(self.network.compute_face_descriptor(picture, self.landmarks(picture, place)))


class Album:
    """Numbers of people's pictures by their seeds, `[n, 128]` each.

    Args:
        assets: Folder of an asset pack, or None. keep: File that holds the numbers made so far, or None.
    """

    def __init__(self, assets: Path | None, keep: Path | None) -> None:
        self.assets, self.keep = assets, keep
        self.renderer, self.recogniser = Renderer(SIDE, SIDE), Recogniser()
        self.numbers: dict[int, np.ndarray] = {}
        if keep is not None and keep.exists():
            with np.load(keep, allow_pickle=False) as kept:
                self.numbers = dict(zip(kept["seeds"].tolist(), kept["numbers"], strict=True))

    def look(self, seeds: Iterable[int], pictures: int) -> np.ndarray:
        """`[people, pictures, 128]`."""
        rows = []
        for seed in seeds:
            if seed not in self.numbers or np.isnan(self.numbers[seed][:pictures]).any():
                self.numbers[seed] = self._picture(seed, pictures)
                self._save()
            rows.append(self.numbers[seed][:pictures])
        return np.stack(rows)

    def _save(self) -> None:
        if self.keep is not None:
            scratch = self.keep.with_suffix(".part.npz")
            np.savez(scratch, seeds=list(self.numbers), numbers=list(self.numbers.values()))
            scratch.replace(self.keep)

    def _picture(self, seed: int, pictures: int) -> np.ndarray:
        """`[2, 128]`, NaN for the second where only one is asked for."""
        figure = Figure.build(Identity.sample(seed), self.assets, texture=512)
        rng = np.random.default_rng([seed, 5])
        camera = Camera.framing((0.0, 0.15, 0.0), 3.2)
        rows = np.full((2, 128), np.nan)
        for number in range(pictures):
            units = np.zeros((1, 52), np.float32)
            for name, weight in EXPRESSIONS[int(rng.integers(len(EXPRESSIONS)))].items():
                units[0, FACE_UNITS.index(name)] = weight
            head = np.array([[rng.uniform(-14, 14), 0, 0]], np.float32)
            pose = figure.pose(Performance(25.0, units, head, np.zeros((1, 2), np.float32)), 0)
            drawn, _ = self.renderer.draw([(figure, pose)], camera, Light.sample(rng), premultiplied=True)
            hole = 1 - drawn[..., 3:].astype(np.float32) / 255
            picture = np.clip(drawn[..., :3] + rng.uniform(60, 200, 3) * hole, 0, 255).astype(np.uint8)
            box = measure(figure, pose, camera, (SIDE, SIDE))["face_box"]
            rows[number] = self.recogniser.embed(picture, box)
        return rows


def test_people() -> list[int]:
    """Seeds of everybody in the test sets, and of the first 100 test people, as they are filmed."""
    sets = [spec for spec in SETS.values() if spec.split == "test"]
    cast = [seed for spec in sets for index in range(spec.clips) for seed in plan_clip(spec, index).seeds]
    return [*(stand_in(FIRST_TEST_SEED + k) for k in range(100)), *cast]


def far_apart(distances: np.ndarray) -> list[int]:
    """People of whom no two are within `SAME`, first come first kept."""
    kept: list[int] = []
    for k in range(len(distances)):
        if all(distances[k, other] > SAME for other in kept):
            kept.append(k)
    return kept


def report(pairs: np.ndarray) -> None:
    """How distinct the people of one set are, `[n, 2, 128]`."""
    first, second = pairs[:, 0], pairs[:, 1]
    own = np.linalg.norm(first - second, axis=1)
    apart = np.linalg.norm(first[:, None] - first[None], axis=2)
    across = np.linalg.norm(first[:, None] - second[None], axis=2)
    upper = apart[np.triu_indices(len(pairs), 1)]
    print(f"same person: median distance {np.median(own):.3f}, 95th percentile {np.percentile(own, 95):.3f}")
    print(f"different people: 5th percentile {np.percentile(upper, 5):.3f}, median {np.median(upper):.3f}")
    print(f"more than {SAME} apart: {len(far_apart(apart))} of {len(pairs)} people")
    print(f"recognised from the other picture: {(across.argmin(0) == np.arange(len(pairs))).sum()} of {len(pairs)}")


def nearest(training: np.ndarray) -> np.ndarray:
    """How far each of `training [n, 128]` is from the nearest other one, `[n]`."""
    apart = np.linalg.norm(training[:, None] - training[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.asarray(apart.min(1))


def report_test(training: np.ndarray, test: np.ndarray) -> None:
    """Whether people of the test sets, `[m, 128]`, are nearer to training people than those are to each other."""
    apart = np.linalg.norm(training[:, None] - training[None], axis=2)[np.triu_indices(len(training), 1)]
    across = np.linalg.norm(test[:, None] - training[None], axis=2)
    own, other = nearest(training), across.min(1)
    shares = (0, 5, 25, 50, 75, 95)
    for name, among, between in (("pairs", apart, across), ("nearest", own, other)):
        limit = np.percentile(among, 5)
        print(f"{name}, percentiles {shares}:")
        print(f"  training to training {np.percentile(among, shares).round(3)}")
        print(f"  test to training     {np.percentile(between, shares).round(3)}")
        near = f"{(other < limit).sum()} of {len(other)} test people, {(own < limit).sum()} of {len(own)} of training"
        print(f"  nearer to a training person than the 5th percentile, {limit:.3f}: {near}")


def choose(training: np.ndarray, album: Album) -> dict[int, int]:
    """Stand-ins for test people nearer to one of `training [n, 128]` than 95 % of these are to their nearest."""
    limit = np.percentile(nearest(training), 5)
    passed_over = {other: seed for seed, other in STAND_INS.items()}
    chosen = {}
    for filmed in test_people():
        seed = passed_over.get(filmed, filmed)
        for candidate in itertools.count(seed, APART):
            if np.linalg.norm(album.look([candidate], 1)[0] - training, axis=1).min() >= limit:
                break
        if candidate != seed:
            chosen[seed] = candidate
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--test", action="store_true", help="compare them with the people of the test sets instead")
    parser.add_argument("--choose", action="store_true", help="print stand-ins for those who are too near")
    parser.add_argument("--assets", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None, help=".npz file for the numbers made so far")
    options = parser.parse_args()
    album = Album(options.assets, options.keep)
    training = album.look(range(options.people), 1 if options.choose or options.test else 2)
    if options.choose:
        chosen = choose(training[:, 0], album)
        print("STAND_INS: dict[int, int] = {")
        print("".join(f"    {seed}: {other},\n" for seed, other in sorted(chosen.items())) + "}")
    elif options.test:
        report_test(training[:, 0], album.look(test_people(), 1)[:, 0])
    else:
        report(training)


if __name__ == "__main__":
    main()
