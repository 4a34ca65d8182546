"""How sure a mean is, and whether two models differ: intervals and paired tests, seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.results import Results, same_task

SEED = 0
RESAMPLES = 2000
#: 97.5 % of the normal distribution lie below.
_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval over `count` videos; NaN where there are none."""

    mean: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float], seed: int = SEED, share: bool = False) -> Estimate:
    """Mean and percentile bootstrap interval; videos are drawn with replacement.

    Args:
        values: One per video; those that are not finite are left out. seed: Of the draws.
        share: They are shares. Where all of them are 0 or 1 the interval is Wilson's: the bootstrap of all ones would
            be [1, 1], as if a hundred of a hundred were sure from five of five.
    """
    known = np.array([value for value in values if np.isfinite(value)], np.float64)
    if not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    if len(known) == 1:
        return Estimate(float(known[0]), float("nan"), float("nan"), 1)
    if share and np.isin(known, (0.0, 1.0)).all():
        return _wilson(known)
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(known[draws].mean(1), [2.5, 97.5])
    return Estimate(float(known.mean()), float(low), float(high), len(known))


def of_column(result: Results, name: str) -> Estimate:
    """The estimate of one column of a model."""
    return estimate(list(result.column(name).values()), share=result.columns[name].is_share)


def _wilson(known: NDArray[np.float64]) -> Estimate:
    """Wilson's score interval of a share."""
    count, mean = len(known), float(known.mean())
    spread = _Z * np.sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2))
    scale, middle = 1 + _Z**2 / count, mean + _Z**2 / (2 * count)
    low, high = np.clip([(middle - spread) / scale, (middle + spread) / scale], 0, 1)
    return Estimate(mean, float(low), float(high), count)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same videos.

    Attributes:
        count: Videos both have. first, second: Means over these. difference: Second minus first, with its interval.
        p: Of Wilcoxon's signed-rank test (two-sided); NaN with fewer than 6 differing pairs.
        p_corrected: The same after Holm's correction over all columns compared together.
        effect: Share of videos in which the second is larger, ties counting half.
    """

    count: int
    first: float
    second: float
    difference: Estimate
    p: float
    p_corrected: float
    effect: float


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    """Compares two columns by key, without correction (see `corrected`)."""
    from scipy.stats import wilcoxon

    keys = sorted(set(first) & set(second))
    a, b = (np.array([values[key] for key in keys]) for values in (first, second))
    difference = b - a
    enough = int((difference != 0).sum()) >= 6
    p = float(wilcoxon(difference).pvalue) if enough else float("nan")
    effect = float(((difference > 0) + 0.5 * (difference == 0)).mean()) if keys else float("nan")
    means = (float(a.mean()), float(b.mean())) if keys else (float("nan"), float("nan"))
    return Comparison(len(keys), *means, estimate(list(difference)), p, p, effect)


def compare_all(first: Results, second: Results) -> dict[str, Comparison]:
    """All columns both have values of, corrected together; by how far off the target values are, where there is one.

    Raises:
        InputError: They are of different sets or protocols.
    """
    same_task([first, second])
    found = {}
    for name, entry in first.columns.items():
        if name not in second.columns:
            continue
        result = compare(*(_off_target(one.column(name), entry.target) for one in (first, second)))
        if result.count:
            found[entry.compared_as(name)] = result
    ps = corrected([result.p for result in found.values()])
    return {name: replace(result, p_corrected=p) for (name, result), p in zip(found.items(), ps, strict=True)}


def _off_target(values: Mapping[str, float], target: float | None) -> Mapping[str, float]:
    return values if target is None else {key: abs(value - target) for key, value in values.items()}


def corrected(ps: Sequence[float]) -> list[float]:
    """Holm's correction; NaN stays."""
    known = sorted((p, k) for k, p in enumerate(ps) if np.isfinite(p))
    result = [float("nan")] * len(ps)
    worst = 0.0
    for rank, (p, k) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - rank)))
        result[k] = worst
    return result
