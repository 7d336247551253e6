"""Fronts of several seeds as attainment surfaces: what a training run of a study attains, and how sure that is.

A point of PSNR and Dice is attained by a seed if one of its networks is at least as good in both. The median surface is
attained by half of the seeds (Fonseca, Guerreiro, Lopez-Ibanez & Paquete 2011, EMO, LNCS 6576:106). Its band is a
hierarchical bootstrap: patients drawn, and seeds drawn with the networks they trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from analysis import statistics
from analysis.contestants import contestant
from analysis.metric_info import metric_range
from analysis.results_table import CONFIG_SEED, ResultsTable
from analysis.sample_scores import AlignedSamples, align, can_resample, metric_statistic
from analysis.selection import front_trials
from analysis.statistics import Array
from analysis.unavailable import NotApplicable, Unavailable

FEWEST_SEEDS = 3
_STEPS = 80  # places along the image score


@dataclass(frozen=True)
class Attainment:
    """The median surface over values of ``x``: the best ``y`` that half of the seeds attain, with its 95 % band.

    ``of_seeds`` ``(seed, place)`` are the surfaces of single seeds; NaN where nothing is attained.
    """

    x: Array
    median: Array
    low: Array
    high: Array
    of_seeds: Array


def attainment(table: ResultsTable, x: str, y: str) -> Attainment:
    """Of the configurations on the front, which validation chose, on the split of claims; both scores are maximised."""
    methods = {contestant(table, trial) for trial in front_trials(table)}
    trials = [trial for method in methods for trial in method.trials]
    if not trials:
        raise NotApplicable("The study has no front yet.")
    if max(sum(map(table.seeds_of, method.trials)) for method in methods) < FEWEST_SEEDS:
        raise NotApplicable(f"Attainment surfaces need the front's configurations with {FEWEST_SEEDS} seeds.")
    samples = align(table, trials, table.claim_split)
    seeds = _seeds_of(table, samples)
    names = sorted({seed for seed in seeds if seeds.count(seed) == max(map(seeds.count, seeds))})
    if len(names) < FEWEST_SEEDS:
        raise NotApplicable(f"Attainment surfaces need the front's configurations with {FEWEST_SEEDS} seeds.")
    if not (can_resample(samples, x) and can_resample(samples, y)):
        raise Unavailable("The slices do not hold what these scores follow from.")
    columns = [[place for place, seed in enumerate(seeds) if seed == name] for name in names]
    return surfaces(samples, columns, x, y)


def surfaces(samples: AlignedSamples, columns: Sequence[Sequence[int]], x: str, y: str) -> Attainment:
    """Of the networks of some seeds; ``columns`` are each seed's in the samples."""
    (x_score, x_draws), (y_score, y_draws) = (
        statistics.bootstrap(samples.patients, metric_statistic(samples, name)) for name in (x, y)
    )
    used = [place for of_seed in columns for place in of_seed]
    grid = np.unique(np.linspace(x_score[used].min(), x_score[used].max(), _STEPS))
    of_seeds = np.stack([_surface(x_score[None, of], y_score[None, of], grid)[0] for of in columns])
    drawn = np.stack([_surface(x_draws[:, of], y_draws[:, of], grid) for of in columns], axis=1)
    low, high = np.clip(_band(of_seeds, drawn, samples.patient_count), *metric_range(y))
    return Attainment(grid, _median(of_seeds, axis=0), low, high, of_seeds)


def _band(of_seeds: Array, drawn: Array, patients: int) -> tuple[Array, Array]:
    """The 95 % band of the median surface, ``(place,)`` each.

    Seeds are drawn, and so are patients. Patients and seeds are crossed, as in ``random_effects``: the draws' variance is made
    what patients alone and medians of other seeds would give, since both parts of the draws hold that each seed does better on
    other patients, and they get the tails of Student's t with Satterthwaite's degrees of freedom.

    Args:
        of_seeds: surfaces of the seeds on these patients, ``(seed, place)``.
        drawn: on drawn patients, ``(draw, seed, place)``.
        patients: how many.
    """
    seeds = len(of_seeds)
    chosen = np.random.default_rng(0).integers(seeds, size=(len(drawn), seeds))
    median = _median(of_seeds, axis=0)
    medians = _median(np.take_along_axis(drawn, chosen[:, :, None], axis=1), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of places that no seed attains nothing is known
        means = np.nanmean(drawn, axis=1)
        interaction = np.nanvar(drawn - means[:, None], axis=0).sum(axis=0) / (seeds - 1)
        of_patients = np.maximum(np.nanvar(means, axis=0) - interaction / seeds, 0.0)
        of_runs = np.nanvar(_median(of_seeds[chosen], axis=1), axis=0) / excess_of_drawn_medians(seeds)
        whole = np.nanvar(medians, axis=0)
    total = of_patients + of_runs
    parts = of_patients**2 / max(patients - 1, 1) + of_runs**2 / (seeds - 1)
    # Where all draws are alike there is nothing to widen.
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(parts > 0, total**2 / parts, seeds - 1)
        by = np.where(whole > 0, np.sqrt(total / whole), 1.0)
    draws = median + (medians - median) * by
    return statistics.percentile_interval(statistics.as_of_few(median, draws, np.maximum(freedom, 1.0)))


@cache
def excess_of_drawn_medians(seeds: int) -> float:
    """By how much the variance of medians of seeds drawn from the seeds exceeds that of medians of as many other seeds.

    The mean over 20,000 studies of normal scores; in each the variance of draws is exact, for the chance that a drawn median
    is a certain one of the ordered scores is binomial (Maritz & Jarrett 1978, JASA 73:194-196).
    """
    ordered = np.sort(np.random.default_rng(0).normal(size=(20_000, seeds)), axis=1)
    half = seeds // 2
    chances = np.diff(stats.binom.sf(half, seeds, np.arange(seeds + 1) / seeds))
    of_draws = ordered**2 @ chances - (ordered @ chances) ** 2
    return float(of_draws.mean() / ordered[:, half].var())


def _seeds_of(table: ResultsTable, samples: AlignedSamples) -> list[int]:
    """The seed of each column: of a repeated trial each run's, else the trial's own."""
    if not table.runs.empty or CONFIG_SEED not in table.trials:
        return samples.seeds
    return [int(table.trials.at[trial, CONFIG_SEED]) for trial in samples.trials]


def _surface(x: Array, y: Array, grid: Array) -> Array:
    """The best y of points ``(draw, point)`` whose x is at least each place's, ``(draw, place)``; NaN without any."""
    best = np.where(x[:, None, :] >= grid[None, :, None] - 1e-12, y[:, None, :], -np.inf).max(axis=2)
    return np.where(np.isfinite(best), best, np.nan)


def _median(surfaces: Array, axis: int) -> Array:
    """What half of them attain: one that attains nothing lies below all others."""
    ordered = np.sort(np.where(np.isnan(surfaces), -np.inf, surfaces), axis=axis)
    half = np.take(ordered, ordered.shape[axis] // 2, axis=axis)
    return np.where(np.isfinite(half), half, np.nan)
