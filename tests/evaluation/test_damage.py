"""Every metric gets worse, step by step, under the damage that is its own: on rendered people whose truth is known.

Damage to pictures is in test_measure.py (drift, identity, FVD, face units) and test_stage_sync.py (the sync expert).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation_cases import Filmed, sample_of
from talkies.evaluation.faces import ArrayVideo
from talkies.evaluation.metrics.binding import BINDING
from talkies.evaluation.metrics.cost import COST
from talkies.evaluation.metrics.drift import DRIFT
from talkies.evaluation.metrics.efid import EFID
from talkies.evaluation.metrics.lip_truth import LIP_TRUTH
from talkies.evaluation.metrics.syncnet import confidence
from talkies.evaluation.mouth import Mouth
from talkies.evaluation.networks.syncnet import distances
from talkies.evaluation.sample import Observation
from talkies.evaluation.set_metric import distance

Lips = Callable[[Mouth, Mouth, float], Mouth]


def _mixed(own: Mouth, other: Mouth, share: float) -> Mouth:
    """Lips that do more and more of what the other's do."""
    return replace(
        own,
        opening=(1 - share) * own.opening + share * other.opening,
        width=(1 - share) * own.width + share * other.width,
    )


def _calmer(own: Mouth, other: Mouth, share: float) -> Mouth:
    """Lips that move less and less."""
    return replace(own, opening=own.opening.mean() + (1 - share) * (own.opening - own.opening.mean()))


def _noisy(own: Mouth, other: Mouth, share: float) -> Mouth:
    """Lips that tremble."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2, len(own.opening))).astype(np.float32)
    return replace(
        own,
        opening=own.opening + 2 * share * own.opening.std() * noise[0],
        width=own.width + 2 * share * own.width.std() * noise[1],
    )


def _late(own: Mouth, other: Mouth, share: float) -> Mouth:
    """Lips that come late, by up to eight frames."""
    return replace(own, opening=np.roll(own.opening, round(8 * share)))


def _worse(seen: Observation, damage: Lips, share: float) -> Observation:
    """The same video with damaged lips."""
    one, two = seen.mouths
    found = Observation(seen.sample)
    vars(found).update({name: value for name, value in vars(seen).items() if name != "mouths"})
    vars(found)["mouths"] = (damage(one, two, share), damage(two, one, share))
    return found


def _falls(values: Sequence[float]) -> bool:
    return list(values) == sorted(values, reverse=True) and values[0] > values[-1]


def _rises(values: Sequence[float]) -> bool:
    return _falls([-value for value in values])


@pytest.mark.parametrize(
    ("damage", "falling", "rising"),
    [
        (_mixed, ["lip r"], ["lip error"]),
        (_noisy, ["lip r", "lip width r"], ["lip error", "lip amplitude"]),
        (_late, ["lip r"], ["lip error", "lip offset"]),
        (_calmer, ["lip amplitude"], ["lip error"]),
    ],
)
def test_lips_and_their_truth(seen: Observation, damage: Lips, falling: list[str], rising: list[str]) -> None:
    found = [LIP_TRUTH.measure(_worse(seen, damage, share)) for share in (0.0, 0.25, 0.5)]
    assert all(_falls([values[name] for values in found]) for name in falling), found
    assert all(_rises([values[name] for values in found]) for name in rising), found


def test_closures_on_known_phones(seen: Observation) -> None:
    """Lips that are held open where p, b and m are."""
    middles = [int(np.argmin(mouth.opening)) for mouth in seen.mouths]
    people = tuple(
        replace(person, phones=tuple(("P", (m + k) / 25, (m + k + 1) / 25) for k in range(3)))
        for person, m in zip(seen.sample.people, middles, strict=True)
    )

    def closed(held: int) -> float:
        shown = Observation(replace(seen.sample, people=people))
        vars(shown).update({name: value for name, value in vars(seen).items() if name not in ("sample", "mouths")})
        opened = []
        for mouth, m in zip(seen.mouths, middles, strict=True):
            opening = mouth.opening.copy()
            opening[m : m + 3] = opening.min()
            opening[m : m + held] = opening.max()
            opened.append(replace(mouth, opening=opening))
        vars(shown)["mouths"] = tuple(opened)
        return LIP_TRUTH.measure(shown)["closed on p b m"]

    assert _falls([closed(held) for held in (0, 1, 2, 3)])


def test_lips_that_follow_the_neighbours_voice(seen: Observation) -> None:
    found = [BINDING.measure(_worse(seen, _mixed, share)) for share in (0.0, 0.3, 0.7, 1.0)]
    assert _falls([values["binding margin"] for values in found])
    assert _falls([values["binding accuracy"] for values in found])
    assert _falls([values["sync score (curve)"] for values in found])
    assert found[0]["crosstalk"] < found[2]["crosstalk"] < found[3]["crosstalk"]


def test_silent_people_whose_lips_move(seen: Observation) -> None:
    """One of the two has no voice; her lips move more and more."""
    one, two = seen.sample.people
    quiet = seen.with_voices((replace(one, voice=None, truth=None), two))

    def leaking(share: float) -> dict[str, float]:
        shown = _worse(quiet, lambda own, other, _: own, 0)
        still, talking = seen.mouths
        moved = still.opening.min() + share * (talking.opening - talking.opening.min())
        vars(shown)["mouths"] = (replace(still, opening=moved.astype(np.float32)), talking)
        return dict(BINDING.measure(shown))

    found = [leaking(share) for share in (0.0, 0.2, 0.5, 1.0)]
    assert _rises([values["leaked motion"] for values in found])
    assert _falls([values["closed in silence"] for values in found])
    assert not found[0]["leaked sync"] > 0 and found[-1]["leaked sync"] > 0.5
    assert abs(found[-1]["leaked sync by chance"]) < 0.25


def test_expressions_that_fade_or_tremble(seen: Observation) -> None:
    real = [EFID.features(seen)]

    def apart(share: float, noise: float) -> float:
        rng, shown = np.random.default_rng(0), Observation(seen.sample)
        vars(shown).update(vars(seen))
        faces = []
        for face in seen.found_faces:
            mean = face.points.mean(0)
            points = mean + share * (face.points - mean) + rng.normal(0, 1, face.points.shape) * noise
            faces.append(replace(face, points=points.astype(np.float32)))
        vars(shown)["faces"] = tuple(faces)
        return distance([EFID.features(shown)], real)

    assert _rises([apart(share, 0) for share in (1.0, 0.6, 0.2)])
    assert _rises([apart(1.0, noise) for noise in (0.0, 0.3, 1.0)])


def test_contrast_and_motion_that_go(filmed: Filmed) -> None:
    short = filmed.frames[:12]

    def drift(frames: np.ndarray) -> dict[str, float]:
        return dict(DRIFT.measure(Observation(replace(sample_of(filmed, frames), reference=filmed.frames[0]))))

    grey = [drift((128 + share * (short - 128.0)).astype(np.uint8))["contrast at end"] for share in (1.0, 0.7, 0.3)]
    assert _falls(grey) and grey[0] == pytest.approx(1, abs=0.1)
    still = [drift(short[np.arange(12) // hold * hold])["motion energy"] for hold in (1, 3, 12)]
    assert _falls(still) and still[-1] == 0


def test_syncnets_verdict_under_noise_and_shifts() -> None:
    """On made-up looks: SyncNet's weights are the user's."""
    rng = torch.Generator().manual_seed(1)
    speech = torch.randn(60, 16, generator=rng)
    noise = torch.randn(60, 16, generator=rng)
    found = [confidence(distances(speech + share * noise, speech, 15).numpy()) for share in (0.1, 0.5, 1.5, 4.0)]
    assert _falls([c for c, _, _ in found]) and _rises([d for _, d, _ in found])
    late = [confidence(distances(speech.roll(k, 0), speech, 15).numpy())[2] for k in (0, -3, -9)]
    assert [abs(value) for value in late] == [0, 3, 9]


def test_cost_is_what_was_noted(filmed: Filmed) -> None:
    sample = replace(sample_of(filmed), video=ArrayVideo(filmed.frames[:20]))
    noted = [replace(sample, run={"seconds": s, "peak_bytes": s * 2**30}) for s in (1.0, 2.0, 4.0)]
    found = [COST.measure(Observation(one)) for one in noted]
    assert [values["seconds per frame"] for values in found] == [0.05, 0.1, 0.2]
    assert [values["peak memory"] for values in found] == [1.0, 2.0, 4.0]
    assert np.isnan(COST.measure(Observation(sample))["peak memory"])
