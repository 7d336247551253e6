"""Scores with intervals from ``samples.parquet``: any image metric or Dice column, resampled over patients.

A Dice column is recomputed from pixel counts in every draw, so patient-pooled Dice and its empty policy
are what ``taskct_core.metrics`` defines, not a mean of slice values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.metric_info import metric_range
from analysis.results_table import ResultsTable
from analysis.statistics import Array, Resamples
from analysis.unavailable import Unavailable
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.metrics.pooled import POOLED, PooledScore
from taskct_core.metrics.summary import dice

_HD95 = tuple(f"hd95_{structure}" for structure in S.STRUCTURES)
_DICE = re.compile(
    rf"dice_(liver|tumour|mean)_({'|'.join(S.DICE_SCOPES)})_({'|'.join(S.EMPTY_POLICIES)})"
    rf"({'|'.join(S.NETWORK_SUFFIXES)})"
)
_POOLED = {name + suffix: (score, suffix) for name, score in POOLED.items() for suffix in S.NETWORK_SUFFIXES}
_COUNTS = (*S.COUNTS, *S.COMPONENT_COUNTS, *S.SURFACE_COUNTS, *S.ERROR_COUNTS)
_SLICE, _RUN = [S.PATIENT, S.SLICE_INDEX], [S.TRIAL, S.SEED]
_COLUMNS = {*S.METRICS, *(name + suffix for name in (*_COUNTS, *_HD95) for suffix in S.NETWORK_SUFFIXES)}


@dataclass(frozen=True)
class AlignedSamples:
    """The slices that every one of some trials was scored on.

    Attributes:
        trials: whose the columns of ``values`` are; a trial that is repeated has one for each seed.
        patients: of each slice.
        values: samples column -> ``(slice, trial)``.
        seeds: of each column, where trials are repeated; else 0.
        are_repeated: whether scores are means over patients of each one's own, as a repeated trial's row has them,
            instead of what all slices together give.
    """

    split: str
    trials: list[int]
    patients: list[str]
    values: dict[str, Array]
    seeds: list[int] = field(default_factory=list)
    are_repeated: bool = False

    def columns_of(self, trials: Sequence[int]) -> list[int]:
        """The columns of some trials."""
        return [column for column, trial in enumerate(self.trials) if trial in trials]

    @property
    def patient_count(self) -> int:
        return len(set(self.patients))


def align(table: ResultsTable, trials: Sequence[int], split: str) -> AlignedSamples:
    """Bring the samples of some trials (or references) into one order of slices."""
    slices = table.samples
    if slices.empty:
        raise Unavailable(
            f"The study folder holds no {StudyFolder.samples}, so there are no intervals over patients."
        )
    found = slices[(slices[S.SPLIT] == split) & slices[S.TRIAL].isin(trials)]
    trials = [trial for trial in dict.fromkeys(trials) if (found[S.TRIAL] == trial).any()]
    if not trials:
        raise Unavailable(f"None of these trials has slices scored on the {split} split.")
    found = found.assign(**{S.SEED: found[S.SEED].fillna(0) if S.SEED in found else 0})
    samples = _in_one_order(found.drop_duplicates([*_SLICE, *_RUN]), trials, split)
    return replace(samples, are_repeated=not table.runs.empty)


def _in_one_order(samples: pd.DataFrame, trials: list[int], split: str) -> AlignedSamples:
    """Rows of slices as one array a column: a row for each slice that all runs share, a column for each run."""
    slice_of, run_of = (samples.groupby(keys).ngroup().to_numpy() for keys in (_SLICE, _RUN))
    slices, runs = (samples[keys].drop_duplicates().sort_values(keys) for keys in (_SLICE, _RUN))
    place = {trial: place for place, trial in enumerate(trials)}
    order = runs[S.TRIAL].map(place).to_numpy().argsort(kind="stable")
    runs = runs.iloc[order]
    scored = np.zeros((len(slices), len(runs)), dtype=bool)
    scored[slice_of, run_of] = True
    shared = scored.all(axis=1)
    if not shared.any():
        raise Unavailable(f"These trials share no slice of the {split} split.")
    values = {}
    for column in (name for name in samples if name in _COLUMNS):
        grid = np.full(scored.shape, np.nan)
        grid[slice_of, run_of] = samples[column].to_numpy(dtype=float, na_value=np.nan)
        values[column] = grid[shared][:, order]
    patients = slices.loc[shared, S.PATIENT].astype(str).tolist()
    return AlignedSamples(
        split, runs[S.TRIAL].astype(int).tolist(), patients, values, runs[S.SEED].astype(int).tolist()
    )


def can_resample(samples: AlignedSamples, metric: str) -> bool:
    """Whether the metric follows from the slices: a column of theirs, or a Dice with its counts.

    A Dice under another network than the frozen one carries that network's suffix.
    """
    if metric in samples.values:
        return True
    counts = _counts_of(metric)
    return bool(counts) and all(name in samples.values for name in counts)


def _counts_of(metric: str) -> list[str]:
    """The columns of slices that a metric is computed from; none if it is such a column itself."""
    if metric in _POOLED:
        pooled, suffix = _POOLED[metric]
        return [name + suffix for name in pooled.counts]
    match = _DICE.fullmatch(metric)
    return [name + match[4] for name in S.COUNTS] if match else []


def metric_statistic(samples: AlignedSamples, metric: str) -> statistics.Statistic:
    """The metric of every trial as a statistic of resamples: ``(draw, trial)``."""
    if samples.are_repeated and samples.patient_count > 1:
        of_patients = np.stack(list(patient_scores(samples, metric).values()))
        return lambda resamples: resamples.block_means(of_patients)
    if metric in _POOLED:
        pooled = _POOLED[metric][0]
        counts = [samples.values[name] for name in _counts_of(metric)]
        return lambda resamples: _pooled(pooled, counts, resamples)
    match = _DICE.fullmatch(metric)
    if match is None:
        values = np.where(np.isfinite(samples.values[metric]), samples.values[metric], np.nan)
        return lambda resamples: resamples.slice_means(values)
    structure, scope, empty, suffix = match.groups()
    if structure != "mean":
        return lambda resamples: _dice(samples, f"{structure}_{{}}_pixels{suffix}", scope, empty, resamples)
    there = [part for part in S.STRUCTURES if empty == "lits" or _is_there(samples, part, suffix)]
    if not there:
        return lambda resamples: np.full((resamples.counts.shape[0], len(samples.trials)), np.nan)
    return lambda resamples: np.mean(
        [_part_of_mean(samples, part, suffix, scope, empty, resamples) for part in there], axis=0
    )


def patient_scores(samples: AlignedSamples, metric: str) -> dict[str, Array]:
    """Patient -> the metric of their slices alone, ``(trial,)``."""
    patients = np.asarray(samples.patients)
    scores = {}
    for patient in np.unique(patients):
        of_patient = patients == patient
        values = {name: column[of_patient] for name, column in samples.values.items()}
        names = [str(patient)] * int(of_patient.sum())
        part = AlignedSamples(samples.split, samples.trials, names, values)
        scores[str(patient)] = metric_statistic(part, metric)(statistics.as_observed(names))[0]
    return scores


def _pooled(pooled: PooledScore, counts: Sequence[Array], resamples: Resamples) -> Array:
    """The score of each draw, of counts ``(slice, trial)``."""
    if pooled.over == "split":
        return pooled.score(*map(resamples.sums, counts))
    return resamples.block_means(pooled.score(*map(resamples.block_sums, counts)))


def _is_there(samples: AlignedSamples, structure: str, suffix: str) -> bool:
    """Whether the truth has it on any slice: a mean over structures takes those alone.

    Without any in the truth, a method that draws none has no Dice and one with a false pixel has 0.
    """
    return bool((samples.values[f"{structure}_true_pixels{suffix}"] > 0).any())


def _part_of_mean(
    samples: AlignedSamples, structure: str, suffix: str, scope: str, empty: str, resamples: Resamples
) -> Array:
    """A structure's Dice in the mean over structures; NaN for a draw whose truth has none, which says nothing of it."""
    scores = _dice(samples, f"{structure}_{{}}_pixels{suffix}", scope, empty, resamples)
    if empty == "lits":
        return scores
    there = resamples.slice_means((samples.values[f"{structure}_true_pixels{suffix}"] > 0).astype(float))
    return np.where(there > 0, scores, np.nan)


def _dice(samples: AlignedSamples, count: str, scope: str, empty: str, resamples: Resamples) -> Array:
    """``count`` is the name of a count's column with a gap for which count it is."""
    parts = ("true", "predicted", "overlap")
    true, predicted, overlap = (samples.values[count.format(part)] for part in parts)
    if scope == "slice":
        return resamples.slice_means(dice(true, predicted, overlap, empty))
    true, predicted, overlap = map(resamples.block_sums, (true, predicted, overlap))
    return resamples.block_means(dice(true, predicted, overlap, empty))


def intervals(
    table: ResultsTable, trials: Sequence[int], metrics: Sequence[str], split: str | None = None
) -> pd.DataFrame:
    """Scores with 95 % intervals over patients: rows of trial, metric, score, low, high.

    A score is of the trial's slices; low and high are NaN for a metric that slices cannot give.
    """
    samples = align(table, trials, split or table.claim_split)
    if samples.patient_count < 2:
        raise Unavailable(one_patient(samples.split))
    blocks = []
    for metric in metrics:
        if not can_resample(samples, metric):
            continue
        score, draws = statistics.bootstrap(samples.patients, metric_statistic(samples, metric))
        found = list(dict.fromkeys(samples.trials))
        score = np.stack([score[samples.columns_of([trial])].mean() for trial in found])
        means = [draws[:, samples.columns_of([trial])].mean(axis=1) for trial in found]
        drawn = statistics.as_of_few(score, np.stack(means, axis=1), samples.patient_count - 1)
        low, high = np.clip(statistics.percentile_interval(drawn), *metric_range(metric))
        blocks.append(
            pd.DataFrame({"trial": found, "metric": metric, "score": score, "low": low, "high": high})
        )
    if not blocks:
        raise Unavailable(f"{StudyFolder.samples} holds none of {', '.join(metrics)}.")
    return pd.concat(blocks, ignore_index=True)


def one_patient(split: str) -> str:
    """The sentence about a split that has one patient only."""
    return (
        f"The {split} split holds one patient: no interval over patients exists, and nothing is said "
        "about other patients."
    )
