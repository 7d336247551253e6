"""Scores of methods as draws: over patients, and over training runs where a method has several seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.contestants import Contestant, contestant, plain_trainings
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.sample_scores import AlignedSamples, align, can_resample, metric_statistic
from analysis.selection import best_trial
from analysis.statistics import Array
from analysis.unavailable import Unavailable
from taskct_core import schema as S

TRADITIONAL = ("fbp", "tv", "sirt")  # the references that know nothing of the task


def method_draws(samples: AlignedSamples, methods: Sequence[Contestant], metric: str) -> tuple[Array, Array]:
    """The metric of each method, ``(method,)``, and of every draw, ``(draw, method)``.

    A method's score is the mean over its seeds. Patients, each with all slices, are drawn once for all methods, which
    pairs them; what other seeds would give is drawn for each method by itself. In a cross-validation a seed stands for
    its runs on all folds, so that what differs between folds' runs is in it.
    """
    return draws_of_methods(samples, methods, metric_statistic(samples, metric))


def draws_of_methods(
    samples: AlignedSamples, methods: Sequence[Contestant], statistic: statistics.Statistic
) -> tuple[Array, Array]:
    """``method_draws`` of any statistic of the samples' trials, ``(draw, trial)``."""
    score, draws = statistics.bootstrap(samples.patients, statistic)
    columns = [samples.columns_of(method.trials) for method in methods]
    means = np.stack([score[of_method].mean() for of_method in columns])
    repeated = samples.patient_count > 1 and any(len(of_method) > 1 for of_method in columns)
    without = statistics.without_each(samples.patients, statistic) if repeated else None
    errors = [
        statistics.run_variance(score[of], None if without is None else without[:, of]) ** 0.5
        for of in columns
    ]
    spread = [
        statistics.run_draws(error, len(of_method), len(draws), seed=abs(method.trials[0]) + 1)
        for error, method, of_method in zip(errors, methods, columns, strict=True)
    ]
    drawn = [draws[:, of_method].mean(axis=1) for of_method in columns]
    return means, np.stack(drawn, axis=1) + np.stack(spread, axis=1)


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
    score, draws = method_draws(samples, sides, metric)
    shares = gap_shares(np.vstack([score, draws]), 1, 2)[:, 0]
    low, high = statistics.percentile_interval(shares[1:, None])
    return float(shares[0]), float(low[0]), float(high[0])


def gap_shares(scores: Array, lower: int, upper: int) -> Array:
    """``(draw, method)`` scores as shares of the way from the method of column ``lower`` to ``upper``."""
    gap = scores[:, [upper]] - scores[:, [lower]]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap != 0, (scores - scores[:, [lower]]) / gap, np.nan)
