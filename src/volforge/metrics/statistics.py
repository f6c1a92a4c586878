"""Statistics over subjects: summary, bootstrap interval, paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from volforge.volume.geometry import Array

FEWEST_PAIRS = 6
RESAMPLES = 10_000
MOST_EXACT = 50
NOISE = 1e-9  # relative: the order of a sum moves its last digits


@dataclass(frozen=True)
class Summary:
    """What a table says of the values of one arm, one per subject.

    Attributes:
        n: Subjects with a value.
        mean: Their mean; NaN for n = 0, as the others.
        sd: Standard deviation with n - 1; NaN below two subjects.
        median: Median.
        q25: Lower quartile.
        q75: Upper quartile.
        ci_low: Lower end of the 95 % bootstrap interval of the mean; NaN below two subjects.
        ci_high: Upper end.
    """

    n: int
    mean: float
    sd: float
    median: float
    q25: float
    q75: float
    ci_low: float
    ci_high: float


def summarise(values: Sequence[float], seed: int = 0) -> Summary:
    """Summary of one value per subject; NaN values are left out.

    Args:
        values: One value per subject.
        seed: Of the bootstrap.
    """
    x = np.array([v for v in values if not math.isnan(v)], np.float64)
    nan = math.nan
    if not x.size:
        return Summary(0, nan, nan, nan, nan, nan, nan, nan)
    finite = bool(np.isfinite(x).all())  # equal images have an infinite PSNR
    q25, median, q75 = (float(q) for q in np.percentile(x, [25, 50, 75])) if finite else (nan, nan, nan)
    sd = float(x.std(ddof=1)) if x.size > 1 and finite else nan
    low, high = bootstrap_interval(x, seed)
    return Summary(x.size, float(x.mean()), sd, median, q25, q75, low, high)


def bootstrap_interval(values: Array, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean over subjects; NaN below two subjects.

    With few subjects it is still too narrow; the table prints n beside it.

    Source: BCa of Efron, J. Am. Stat. Assoc. 82 (1987), by `scipy.stats.bootstrap`.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    low, span = float(values.min()), float(np.ptp(values))
    if span <= NOISE * max(abs(low), 1e-300):
        return low, float(values.max())
    from scipy import stats

    def mean(x: Array, axis: int = -1) -> Array:
        return np.round(x.mean(axis=axis), 9)  # resamples that equal the mean do so whatever the values' unit

    found = stats.bootstrap(
        ((values - low) / span,),
        mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // len(values)),
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return low + span * float(found.low), low + span * float(found.high)


@dataclass(frozen=True)
class PairedTest:
    """A Wilcoxon signed-rank test of two arms.

    Attributes:
        a: One arm.
        b: The other.
        pairs: Subjects that both have a value for.
        p: Two-sided p; None where no test was made (fewer than six pairs, or all equal).
        p_holm: p corrected for all tests of the family.
        smallest_p: The smallest p that so many pairs can reach, 2 / 2^n.
    """

    a: str
    b: str
    pairs: int
    p: float | None
    p_holm: float | None
    smallest_p: float


def compare_arms(arms: Mapping[str, Mapping[str, float]]) -> list[PairedTest]:
    """Paired two-sided Wilcoxon tests (Wilcoxon 1945) between all arms, corrected by Holm (1979).

    Args:
        arms: For each arm the value of every subject.

    Returns:
        One test for each pair of arms, in the order of the arms.
    """
    tests: list[PairedTest] = []
    for a, b in combinations(arms, 2):
        both = [s for s in arms[a] if s in arms[b]]
        x = _differences(arms[a], arms[b], both)
        x = x[~np.isnan(x)]
        tests.append(PairedTest(a, b, x.size, wilcoxon(x), None, min(1.0, 2.0 ** (1 - x.size))))
    made = [t.p for t in tests if t.p is not None]
    corrected = iter(holm(made))
    return [
        PairedTest(t.a, t.b, t.pairs, t.p, next(corrected) if t.p is not None else None, t.smallest_p) for t in tests
    ]


def _differences(a: Mapping[str, float], b: Mapping[str, float], subjects: Sequence[str]) -> Array:
    """Differences by subject; two infinite values (PSNR of equal images) have none."""
    with np.errstate(invalid="ignore"):
        return np.array([a[s] for s in subjects]) - np.array([b[s] for s in subjects])


def wilcoxon(differences: Array) -> float | None:
    """Two-sided p of the signed-rank test; None with fewer than six pairs or without a difference.

    Zeros are dropped, ties share their mean rank. Up to 50 differences the distribution is exact with ties too (all
    signs are equally likely), so that p is never below the smallest that so many pairs can reach; above, normal.
    """
    from scipy import stats

    x = _without_noise(differences)
    if len(differences) < FEWEST_PAIRS or not np.any(x):
        return None
    x = x[x != 0]
    if x.size > MOST_EXACT:
        return float(stats.wilcoxon(x, method="approx").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(x))).astype(int)  # mean ranks are halves at worst
    total = int(doubled.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[: total + 1 - rank]
    smaller = min(int(doubled[x > 0].sum()), int(doubled[x < 0].sum()))
    return min(1.0, float(2 * ways[: smaller + 1].sum() / 2.0**x.size))


def _without_noise(differences: Array) -> Array:
    """Differences that only the order of a sum makes are zeros."""
    finite = np.abs(differences[np.isfinite(differences)])
    scale = float(finite.max()) if finite.size else 0.0
    rounded = differences.copy()
    rounded[np.abs(rounded) <= NOISE * max(scale, 1.0)] = 0.0
    known = np.isfinite(rounded)
    digits = NOISE * max(scale, 1e-300)
    rounded[known] = np.rint(rounded[known] / digits) * digits
    return rounded


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p values, in their order."""
    order = np.argsort(p, kind="stable")
    corrected, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected
