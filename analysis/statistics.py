"""Pure statistics: bootstrap over patients, Student's t for few of them, Holm correction, rank correlation.

The patient is the unit of inference: slices of one patient resemble each other, so patients are drawn, each with all of
its slices (Davison & Hinkley 1997, section 3.8, who advise against drawing within the drawn). The same draws serve
everything that is compared, which pairs the comparison. What other training runs would give is added to them in
``method_draws``. ``benchmarks/coverage.py`` simulates how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

Array = NDArray[np.float64]
# A statistic of some draws, ``(draw, column)``.
Statistic = Callable[["Resamples"], Array]

CONFIDENCE = 0.95
DRAWS = 2000
POWER = 0.8
FEWEST_NEEDED, MOST_NEEDED = 6, 100_000  # patients


@dataclass(frozen=True)
class Resamples:
    """Some draws of a bootstrap, as blocks of slices and how often each draw has each block.

    Attributes:
        blocks: sparse ``(block, slice)``. A block holds a patient's slices; of a single patient it is a draw of them.
        counts: sparse ``(draw, block)``.
    """

    blocks: sparse.csr_array
    counts: sparse.csr_array

    def block_sums(self, values: Array) -> Array:
        """``(slice, column)`` -> ``(block, column)`` sums; NaN propagates, so fill it before."""
        return np.asarray(self.blocks @ values)

    def sums(self, values: Array) -> Array:
        """``(slice, column)`` -> ``(draw, column)`` sums; NaN propagates."""
        return np.asarray(self.counts @ self.block_sums(values))

    def block_means(self, scores: Array) -> Array:
        """``(block, column)`` -> ``(draw, column)`` means over drawn blocks that are not NaN."""
        known = ~np.isnan(scores)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.counts @ np.where(known, scores, 0.0)) / (
                self.counts @ known.astype(float)
            )

    def slice_means(self, values: Array) -> Array:
        """``(slice, column)`` -> ``(draw, column)`` means over drawn slices that are not NaN."""
        known = ~np.isnan(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums(np.where(known, values, 0.0)) / self.sums(known.astype(float))


def as_observed(patients: Sequence[str]) -> Resamples:
    """The sample itself as one draw: what a statistic of it is the point estimate."""
    blocks = _blocks(patients)
    return Resamples(blocks, sparse.csr_array(np.ones((1, blocks.shape[0]))))


def _blocks(patients: Sequence[str]) -> sparse.csr_array:
    """A block a patient, in the order of their names."""
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    return sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))


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
    drawn = statistic(resamples(patients, draws, seed))
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
    blocks = _blocks(patients)
    count = blocks.shape[0]
    return statistic(Resamples(blocks, sparse.csr_array(np.ones((count, count)) - np.eye(count))))


def resamples(patients: Sequence[str], draws: int, seed: int) -> Resamples:
    """Draws of as many patients as there are; of a single one, of as many slices."""
    blocks, generator = _blocks(patients), np.random.default_rng(seed)
    count, slices = blocks.shape
    if count == 1:
        drawn = _counted(generator.integers(slices, size=(draws, slices)), slices)
        return Resamples(drawn, sparse.csr_array(sparse.eye_array(draws)))
    return Resamples(blocks, _counted(generator.integers(count, size=(draws, count)), count))


def _counted(drawn: NDArray[np.int64], of: int) -> sparse.csr_array:
    """``(draw, place)`` numbers below ``of`` -> ``(draw, of)``: how often each draw has each number."""
    draws = np.repeat(np.arange(len(drawn)), drawn.shape[1])
    return sparse.csr_array((np.ones(drawn.size), (draws, drawn.ravel())), shape=(len(drawn), of))


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

    Their interval of a rho of 1 is 1 alone, as if a few trials in one order settled it. It is made about half a step of ranks
    below 1 (the last two of ``count`` exchanged are a step), and reaches to 1.

    None for fewer than five pairs of finite scores, or where either score is constant.
    """
    pairs = np.array([x, y], dtype=float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    count = pairs.shape[1]
    if count < 5 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    result: Any = stats.spearmanr(pairs[0], pairs[1])
    rho = float(result.statistic)
    most = 1 - 6 / (count * (count**2 - 1))
    middle = float(np.clip(rho, -most, most))
    spread = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt((1 + middle**2 / 2) / (count - 3))
    low, high = np.tanh(np.arctanh(middle) + spread * np.array([-1, 1]))
    return RankCorrelation(rho, min(rho, float(low)), max(rho, float(high)), count)
