"""How distinct the stage's people are to a face recogniser that never saw renders.

Needs `pip install dlib-bin` and `pip install --no-deps face-recognition-models`. Every person is pictured twice, in
different light, attitude and expression; dlib's recogniser turns each picture into 128 numbers. `--keep` goes on where
an interrupted run stopped.

    python benchmarks/stage_identities.py --people 500 --test 100 --assets DIR --keep numbers.npy
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import dlib
import numpy as np

from talkies.stage.camera import Camera
from talkies.stage.figure import Figure
from talkies.stage.identity import FIRST_TEST_SEED, Identity
from talkies.stage.light import Light
from talkies.stage.performance import FACE_UNITS, Performance
from talkies.stage.renderer import Renderer, measure

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


def picture_twice(seed: int, assets: Path | None, renderer: Renderer, recogniser: Recogniser) -> np.ndarray:
    """`[2, 128]`."""
    figure = Figure.build(Identity.sample(seed), assets, texture=512)
    rng = np.random.default_rng([seed, 5])
    camera = Camera.framing((0.0, 0.15, 0.0), 3.2)
    rows = []
    for _ in range(2):
        units = np.zeros((1, 52), np.float32)
        for name, weight in EXPRESSIONS[int(rng.integers(len(EXPRESSIONS)))].items():
            units[0, FACE_UNITS.index(name)] = weight
        head = np.array([[rng.uniform(-14, 14), 0, 0]], np.float32)
        pose = figure.pose(Performance(25.0, units, head, np.zeros((1, 2), np.float32)), 0)
        drawn, _ = renderer.draw([(figure, pose)], camera, Light.sample(rng), premultiplied=True)
        hole = 1 - drawn[..., 3:].astype(np.float32) / 255
        picture = np.clip(drawn[..., :3] + rng.uniform(60, 200, 3) * hole, 0, 255).astype(np.uint8)
        rows.append(recogniser.embed(picture, measure(figure, pose, camera, (SIDE, SIDE))["face_box"]))
    return np.stack(rows)


def picture_all(seeds: list[int], assets: Path | None, keep: Path | None) -> np.ndarray:
    """`[n, 2, 128]`; `keep` holds the rows made so far."""
    renderer, recogniser = Renderer(SIDE, SIDE), Recogniser()
    rows = list(np.load(keep, allow_pickle=False)) if keep is not None and keep.exists() else []
    for number in range(len(rows), len(seeds)):
        rows.append(picture_twice(seeds[number], assets, renderer, recogniser))
        if keep is not None and (number % 20 == 19 or number == len(seeds) - 1):
            np.save(keep, np.stack(rows))
    return np.stack(rows[: len(seeds)])


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


def report_test(training: np.ndarray, test: np.ndarray) -> None:
    """Whether people of the test sets are nearer to training people than those are to each other."""
    apart = np.linalg.norm(training[:, None, 0] - training[None, :, 0], axis=2)
    upper = apart[np.triu_indices(len(training), 1)]
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(1)
    across = np.linalg.norm(test[:, None, 0] - training[None, :, 0], axis=2)
    print(
        f"test to training people: 5th percentile {np.percentile(across, 5):.3f} "
        f"(training to training {np.percentile(upper, 5):.3f}), median {np.median(across):.3f}"
    )
    low = np.percentile(nearest, 5)
    print(
        f"nearest training person: of test people median {np.median(across.min(1)):.3f}, least {across.min():.3f}; "
        f"of training people median {np.median(nearest):.3f}, 5th percentile {low:.3f}; "
        f"{(across.min(1) < low).sum()} of {len(test)} test people are nearer than that"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--test", type=int, default=0, help="people of the test sets to compare with")
    parser.add_argument("--assets", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None, help=".npy file for the numbers made so far")
    options = parser.parse_args()
    # Test people are spread among the others, so that an interrupted run has both.
    every = max(1, options.people // options.test) if options.test else options.people + 1
    seeds: list[int] = []
    for seed in range(options.people):
        seeds.append(seed)
        if seed % every == every - 1 and seed // every < options.test:
            seeds.append(FIRST_TEST_SEED + seed // every)
    pairs = picture_all(seeds, options.assets, options.keep)
    testing = np.array(seeds) >= FIRST_TEST_SEED
    report(pairs[~testing])
    if testing.any():
        report_test(pairs[~testing], pairs[testing])


if __name__ == "__main__":
    main()
