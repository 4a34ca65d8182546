"""How sure a mean is, and whether two models differ: bootstrap intervals and paired tests, seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from talkies.evaluation.results import Results

SEED = 0
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval over `count` videos; NaN where there are none."""

    mean: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float], seed: int = SEED) -> Estimate:
    """Mean and percentile bootstrap interval; videos are drawn with replacement."""
    known = np.array([value for value in values if np.isfinite(value)], np.float64)
    if not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    if len(known) == 1:
        return Estimate(float(known[0]), float("nan"), float("nan"), 1)
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(known[draws].mean(1), [2.5, 97.5])
    return Estimate(float(known.mean()), float(low), float(high), len(known))


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
    """All columns both have values of, corrected together."""
    found = {}
    for name in first.columns:
        result = compare(first.column(name), second.column(name)) if name in second.columns else None
        if result is not None and result.count:
            found[name] = result
    ps = corrected([result.p for result in found.values()])
    return {name: replace(result, p_corrected=p) for (name, result), p in zip(found.items(), ps, strict=True)}


def corrected(ps: Sequence[float]) -> list[float]:
    """Holm's correction; NaN stays."""
    known = sorted((p, k) for k, p in enumerate(ps) if np.isfinite(p))
    result = [float("nan")] * len(ps)
    worst = 0.0
    for rank, (p, k) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - rank)))
        result[k] = worst
    return result
