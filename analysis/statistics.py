"""Pure statistics: bootstrap over patients, Student's t for few of them, Holm correction, rank correlation.

The patient is the unit of inference: slices of one patient resemble each other, so patients are drawn, each with all of
its slices (Davison & Hinkley 1997, section 3.8, who advise against drawing within the drawn). The same draws serve
everything that is compared, which pairs the comparison. What other training runs would give is added to them in
``method_draws``. ``benchmarks/coverage.py`` simulates how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

Array = NDArray[np.float64]
# A statistic of one resample: (slot, slice) weights and the slots' grouping -> see ``PatientBootstrap``.
Statistic = Callable[["Resamples"], Array]

CONFIDENCE = 0.95
DRAWS = 2000
POWER = 0.8
FEWEST_NEEDED, MOST_NEEDED = 6, 100_000  # patients
_LARGEST_CHUNK = 2_000_000  # weights held at once


@dataclass(frozen=True)
class Resamples:
    """Some draws of a bootstrap.

    Attributes:
        weights: sparse ``(draw x slot, slice)``; how often a slice counts in a slot. A draw of a bootstrap has as
            many slots as there are patients, and a slot holds one drawn patient's slices.
        slots: slots a draw.
    """

    weights: sparse.csr_array
    slots: int

    def slot_sums(self, values: Array) -> Array:
        """``(slice, column)`` -> ``(draw, slot, column)`` sums; NaN propagates, so fill it before."""
        sums = self.weights @ values
        return np.asarray(sums).reshape(-1, self.slots, values.shape[1])

    def slice_means(self, values: Array) -> Array:
        """``(slice, column)`` -> ``(draw, column)`` means over drawn slices that are not NaN."""
        weights = self.weights  # a draw's slots are rows that follow each other: as one row they are its sum
        of_draws = sparse.csr_array(
            (weights.data, weights.indices, weights.indptr[:: self.slots]),
            shape=(weights.shape[0] // self.slots, weights.shape[1]),
        )
        finite = ~np.isnan(values)
        sums = np.asarray(of_draws @ np.where(finite, values, 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / np.asarray(of_draws @ finite.astype(float))


def as_observed(patients: Sequence[str]) -> Resamples:
    """The sample itself as one draw: what a statistic of it is the point estimate."""
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    ones = np.ones(len(codes))
    weights = sparse.csr_array((ones, (codes, np.arange(len(codes)))))
    return Resamples(weights, int(codes.max()) + 1)


def bootstrap(
    patients: Sequence[str], statistic: Statistic, draws: int = DRAWS, seed: int = 0
) -> tuple[Array, Array]:
    """The statistic of the sample, ``(column,)``, and of every draw, ``(draw, column)``.

    Plain draws of n patients lie too close to the sample by sqrt(1 - 1/n), which is made good (Hesterberg 2015, The
    American Statistician 69:371); ``as_of_few`` gives them the tails of so few. Of a single patient the slices are drawn,
    as they are.

    Args:
        patients: of every slice.
        statistic: of some draws; returns ``(draw, column)``.
        draws: how many.
        seed: the same seed and patients give the same draws.
    """
    score = statistic(as_observed(patients))[0]
    drawn = np.concatenate([statistic(part) for part in _resamples(patients, draws, seed)])
    count = len(set(patients))
    return score, drawn if count < 2 else _stretched(score, drawn, np.sqrt(count / (count - 1)))


def as_of_few(score: Array, draws: Array, freedom: Array | float, seed: int = 0) -> Array:
    """Draws whose spread is itself an estimate: normal ones become Student's t, whatever their skewness.

    Args:
        score: what the draws lie about, ``(column,)``.
        draws: ``(draw, column)``.
        freedom: degrees of freedom, of all columns or ``(column,)``.
        seed: the same one stretches a draw's columns of equal freedom alike.
    """
    each, of_column = np.unique(np.broadcast_to(freedom, score.shape), return_inverse=True)
    level = np.random.default_rng([seed, 1]).uniform(size=(len(draws), 1))
    return _stretched(score, draws, np.sqrt(each / stats.chi2.ppf(level, each))[:, of_column])


def _stretched(score: Array, draws: Array, by: Array | float) -> Array:
    with np.errstate(invalid="ignore"):  # infinite scores, as full dose's PSNR, stay NaN in differences
        return np.where(np.isfinite(draws - score), score + (draws - score) * by, draws)


def without_each(patients: Sequence[str], statistic: Statistic) -> Array:
    """The statistic without each patient in turn, ``(patient, column)``, in the order of their names."""
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    count = int(codes.max()) + 1
    left_out, slices = np.nonzero(np.arange(count)[:, None] != codes[None, :])
    slots = codes[slices] - (codes[slices] > left_out)  # those after the patient left out move up
    weights = sparse.csr_array(
        (np.ones(len(slices)), (left_out * (count - 1) + slots, slices)),
        shape=(count * (count - 1), len(codes)),
    )
    return statistic(Resamples(weights, count - 1))


def _resamples(patients: Sequence[str], draws: int, seed: int) -> Iterator[Resamples]:
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    generator = np.random.default_rng(seed)
    chunk = max(1, _LARGEST_CHUNK // len(codes))
    for first in range(0, draws, chunk):
        drawn = generator.integers(len(sizes), size=min(chunk, draws - first) * len(sizes))
        lengths = sizes[drawn]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        if len(sizes) == 1:
            within = generator.integers(sizes[0], size=offsets[-1])
        else:
            within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        columns = order[np.repeat(starts[drawn], lengths) + within]
        shape = (len(drawn), len(codes))
        yield Resamples(sparse.csr_array((np.ones(len(columns)), columns, offsets), shape=shape), len(sizes))


def percentile_interval(draws: Array, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Low and high ends, ``(column,)`` each; NaN where draws of a column are NaN throughout."""
    tail = 50 * (1 - confidence)
    usable = np.where(np.isfinite(draws), draws, np.nan)
    empty = np.isnan(usable).all(axis=0)
    usable[:, empty] = 0.0
    low, high = np.nanpercentile(usable, [tail, 100 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def p_values(differences: Array) -> Array:
    """Two-sided bootstrap p-values of "no difference", ``(column,)``, never below 1 / (draws + 1)."""
    count = len(differences)
    below = (1 + (differences <= 0).sum(axis=0)) / (count + 1)
    above = (1 + (differences >= 0).sum(axis=0)) / (count + 1)
    return np.minimum(1.0, 2 * np.minimum(below, above))


def holm(values: Sequence[float]) -> Array:
    """Holm's step-down adjustment of p-values (Holm 1979), in the order given; NaN stays and is no test."""
    p = np.asarray(values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def patients_needed(
    difference: float, between_patients: float, between_runs: float, power: float = POWER
) -> float:
    """How many patients a two-sided test at 5 % would need to find a difference of this size.

    The smallest n with ``|difference| >= (t_{0.975} + t_power) sqrt(between_patients / n + between_runs)`` and Student's t
    of n - 1 degrees of freedom; infinite if the runs alone, of which no patient makes more, leave it open.

    Args:
        difference: between the means of two methods.
        between_patients: variance of the patients' differences.
        between_runs: variance that the training runs leave in the mean difference.
        power: probability that the test finds it.
    """
    if not (np.isfinite([difference, between_patients, between_runs]).all() and difference):
        return float("nan") if difference else float("inf")
    counts = np.unique(np.geomspace(FEWEST_NEEDED, MOST_NEEDED, 4000).astype(int))
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, counts - 1) + stats.t.ppf(power, counts - 1)
    found = counts[abs(difference) >= reach * np.sqrt(between_patients / counts + between_runs)]
    return float(found[0]) if len(found) else float("inf")


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of two scores over ``count`` trials, with its interval."""

    rho: float
    low: float
    high: float
    count: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Spearman's rho with the interval of Bonett & Wright (2000, Psychometrika 65:23-28).

    None for fewer than five pairs of finite scores, or where either score is constant.
    """
    pairs = np.array([x, y], dtype=float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    count = pairs.shape[1]
    if count < 5 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    result: Any = stats.spearmanr(pairs[0], pairs[1])
    rho = float(result.statistic)
    spread = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((1 + rho**2 / 2) / (count - 3))
    z = np.arctanh(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
    return RankCorrelation(rho, float(np.tanh(z - spread)), float(np.tanh(z + spread)), count)
