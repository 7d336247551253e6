"""Scores of methods as draws: over patients, and over training runs where a method has several seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.contestants import Contestant, contestant, plain_trainings
from analysis.random_effects import RunScatter, degrees_of_freedom, run_scatter
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.sample_scores import AlignedSamples, align, can_resample, metric_statistic
from analysis.selection import best_trial
from analysis.statistics import Array
from analysis.unavailable import Unavailable
from taskct_core import schema as S

TRADITIONAL = ("fbp", "tv", "sirt")  # the references that know nothing of the task


# ``(draw, method)`` scores -> ``(draw, column)`` of what is told of them, each draw by itself.
Told = Callable[[Array], Array]


@dataclass(frozen=True)
class MethodDraws:
    """A score of some methods: as observed, and as other patients and other training runs could have given it.

    Attributes:
        score: mean over each method's seeds, ``(method,)``.
        of_patients: bootstrap draws, ``(draw, method)``; the same patients for all methods, which pairs them.
        scatters: how each method's runs scatter.
        units: patients that were drawn; of a single one its slices.
    """

    score: Array
    of_patients: Array
    scatters: tuple[RunScatter, ...]
    units: int

    def told(self, tell: Told = lambda scores: scores) -> tuple[Array, Array]:
        """What is told of the methods, ``(column,)``, and draws of it, ``(draw, column)``, whose percentiles are its interval.

        Each draw adds to the patients' what other runs would give, by each method's own error, and is stretched from
        normal to Student's t with the degrees of freedom that ``random_effects`` finds for what is told.
        """
        value, of_patients = tell(self.score[None])[0], tell(self.of_patients)
        errors = np.sqrt([one.variance for one in self.scatters])
        others = np.random.default_rng(1).standard_normal(self.of_patients.shape)
        draws = tell(self.of_patients + errors * others) if errors.any() else of_patients
        return value, statistics.as_of_few(value, draws, self._freedom(tell, value, of_patients))

    def interval(self, tell: Told = lambda scores: scores) -> tuple[Array, Array, Array]:
        """What is told, and the low and high ends of its 95 % interval, ``(column,)`` each."""
        value, draws = self.told(tell)
        return value, *statistics.percentile_interval(draws)

    def _freedom(self, tell: Told, value: Array, of_patients: Array) -> Array:
        finite = np.where(np.isfinite(of_patients), of_patients, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without values has no variance either
            variances = np.nanvar(finite, axis=0)
        slopes = np.zeros((len(self.score), len(value)))
        for place, scatter in enumerate(self.scatters):
            step = scatter.between**0.5
            if step:
                shifted = self.score + step * (np.arange(len(self.score)) == place)
                slopes[place] = (tell(shifted[None])[0] - value) / step
        return np.array(
            [
                degrees_of_freedom(variance, self.units, self.scatters, slope)
                for variance, slope in zip(variances, slopes.T, strict=True)
            ]
        )


def method_draws(samples: AlignedSamples, methods: Sequence[Contestant], metric: str) -> MethodDraws:
    """The metric of each method, the mean over its seeds.

    In a cross-validation a seed stands for its runs on all folds, so that what differs between folds' runs is in it.
    """
    return draws_of_methods(samples, methods, metric_statistic(samples, metric))


def draws_of_methods(
    samples: AlignedSamples,
    methods: Sequence[Contestant],
    statistic: statistics.Statistic,
    count: int = statistics.DRAWS,
) -> MethodDraws:
    """``method_draws`` of any statistic of the samples' trials, ``(draw, trial)``, in ``count`` draws."""
    score, draws = statistics.bootstrap(samples.patients, statistic, count)
    columns = [samples.columns_of(method.trials) for method in methods]
    repeated = samples.patient_count > 1 and any(len(of_method) > 1 for of_method in columns)
    without = statistics.without_each(samples.patients, statistic) if repeated else None
    return MethodDraws(
        score=np.stack([score[of].mean() for of in columns]),
        of_patients=np.stack([draws[:, of].mean(axis=1) for of in columns], axis=1),
        scatters=tuple(run_scatter(score[of], None if without is None else without[:, of]) for of in columns),
        units=samples.patient_count if samples.patient_count > 1 else len(samples.patients),
    )


def basis(samples: AlignedSamples, methods: Sequence[Contestant]) -> str:
    """What intervals of these methods cover, in words that follow "intervals are over"."""
    repeated = any(len(samples.columns_of(method.trials)) > 1 for method in methods)
    seeds = ", and over training runs where a method has several seeds" if repeated else ""
    if samples.patient_count > 1:
        return f"the {samples.patient_count} patients of the {samples.split} split{seeds}"
    return (
        f"the {len(samples.patients)} slices of the one patient of the {samples.split} split{seeds}; "
        "there is none over patients, and nothing is said of other patients"
    )


def best_traditional(table: ResultsTable) -> int | None:
    """What knows nothing of the task and has the best mean Dice (validation; else the split of claims).

    A reference, or the first trial of a configuration trained for the image alone; that one's Dice is the
    mean over its seeds.
    """
    return table.fact(_best_traditional)


def _best_traditional(table: ResultsTable) -> int | None:
    references = [table.reference(name) for name in TRADITIONAL]
    candidates = [number for number in references if number is not None] + plain_trainings(table)
    for split in (SEARCH_SPLIT, table.claim_split):
        scores = table.scores(split, [S.PRIMARY_DICE])
        if S.PRIMARY_DICE not in scores:
            continue
        means = {
            one: float(scores[S.PRIMARY_DICE].reindex(list(contestant(table, one).trials)).mean())
            for one in candidates
        }
        best = best_trial(pd.Series(means, dtype=float), table.direction(S.PRIMARY_DICE))
        if best is not None:
            return best
    return None


def gap_closed_interval(
    table: ResultsTable, trial: int, metric: str, lower: str | None = None, upper: str = "full_dose"
) -> tuple[float, float, float]:
    """Share of the way from the lower to the upper reference: score and ends of the 95 % interval.

    Args:
        table: the study.
        trial: one of the method's; all its seeds count.
        metric: that the gap is in.
        lower: a reference; the best traditional one if not given.
        upper: a reference.
    """
    bounds = [best_traditional(table) if lower is None else table.reference(lower), table.reference(upper)]
    method = contestant(table, trial)
    if None in bounds:
        raise Unavailable(f"The gap needs {lower or 'a traditional reference'} and {upper}.")
    sides = [method, *(contestant(table, bound) for bound in bounds if bound is not None)]
    samples = align(table, [t for side in sides for t in side.trials], table.claim_split)
    missing = {t for side in sides for t in side.trials} - set(samples.trials)
    if missing or not can_resample(samples, metric):
        raise Unavailable(f"The gap needs the {metric} of the method and both references on the same slices.")
    share, low, high = method_draws(samples, sides, metric).interval(partial(gap_shares, lower=1, upper=2))
    return float(share[0]), float(low[0]), float(high[0])


def gap_shares(scores: Array, lower: int, upper: int) -> Array:
    """``(draw, method)`` scores as shares of the way from the method of column ``lower`` to ``upper``."""
    gap = scores[:, [upper]] - scores[:, [lower]]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap != 0, (scores - scores[:, [lower]]) / gap, np.nan)
