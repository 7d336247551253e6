"""Pure statistics: cluster bootstrap over patients, Holm correction, rank correlation.

The patient is the unit of inference: slices of one patient resemble each other, so patients are drawn
first and then slices within each drawn patient (two-stage cluster bootstrap; Davison & Hinkley 1997,
section 3.8). The same draws serve everything that is compared, which pairs the comparison.
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
_LARGEST_CHUNK = 2_000_000  # weights held at once


@dataclass(frozen=True)
class Resamples:
    """Some draws of a bootstrap.

    Attributes:
        weights: sparse ``(draw x slot, slice)``; how often a slice counts in a slot. A draw has as many
            slots as there are patients, and a slot holds one drawn patient's drawn slices.
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
        finite = ~np.isnan(values)
        sums = self.slot_sums(np.where(finite, values, 0.0)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / self.slot_sums(finite.astype(float)).sum(axis=1)


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

    Args:
        patients: of every slice.
        statistic: of some draws; returns ``(draw, column)``.
        draws: how many.
        seed: the same seed and patients give the same draws.
    """
    parts = [statistic(part) for part in _resamples(patients, draws, seed)]
    return statistic(as_observed(patients))[0], np.concatenate(parts)


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
        within = np.floor(generator.random(lengths.sum()) * np.repeat(lengths, lengths)).astype(int)
        columns = order[np.repeat(starts[drawn], lengths) + within]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shape = (len(drawn), len(codes))
        yield Resamples(sparse.csr_array((np.ones(len(columns)), columns, offsets), shape=shape), len(sizes))


def run_draws(runs: Array, draws: int, seed: int = 0) -> Array:
    """``(draw,)``: what other training runs would add to the mean of these, drawn at random.

    Student's t with n - 1 degrees of freedom, scaled by the standard error of the mean of ``runs``
    ``(run,)``. Added to bootstrap draws over patients it gives the Behrens-Fisher solution for two
    independent sources of error, which stays honest with three seeds, where drawing the seeds themselves
    would be too narrow by far. Zeros for a single run: nothing is known of others then.
    """
    count = len(runs)
    if count < 2:
        return np.zeros(draws)
    generator = np.random.default_rng(seed)
    return generator.standard_t(count - 1, draws) * np.std(runs, ddof=1) / np.sqrt(count)


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
