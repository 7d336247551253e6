"""Task-based image quality of a study's methods: what trials measured themselves, and what ``taskct evaluate`` did."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from analysis import statistics
from analysis.results_table import ResultsTable
from analysis.unavailable import NotApplicable
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import read_frame

_COLUMNS = [
    *S.IMAGE_QUALITY_METRICS,
    *(f"{name}_{end}" for name in (S.DPRIME, S.DPRIME_GABOR) for end in ("low", "high")),
]


def image_quality(table: ResultsTable) -> pd.DataFrame:
    """One row a trial or reference, indexed by its number: ``schema.IMAGE_QUALITY_METRICS`` and the ends of d's intervals.

    Of the study's own data, on the split of claims. What a trial measured itself goes before a later evaluation. The ends of
    a repeated trial are of its mean over runs.
    """
    own = table.rows[table.rows[S.SPLIT] == table.claim_split].sort_values(S.EPOCH, kind="stable")
    found = [
        frame.reindex(columns=[S.TRIAL, *_COLUMNS]).dropna(subset=_COLUMNS, how="all")
        for frame in (
            own.drop_duplicates(S.TRIAL, keep="last"),
            table.of_own_data(table.evaluations, table.claim_split),
        )
    ]
    every = pd.concat(found, ignore_index=True)
    if every.empty:
        raise NotApplicable("No trial measured image quality on inserted lesions.")
    every = every.drop_duplicates(S.TRIAL).astype({S.TRIAL: int}).set_index(S.TRIAL)
    every = every.astype(float).sort_index()
    if not table.runs.empty:
        every.update(_ends_of_repeated(table.runs[table.runs[S.SPLIT] == table.claim_split]))
    return every


def _ends_of_repeated(runs: pd.DataFrame) -> pd.DataFrame:
    """The ends of d' of repeated trials, indexed by trial: of means over folds, each of which has places of its own."""
    found: dict[int, dict[str, float]] = {}
    for trial, of_trial in runs.groupby(S.TRIAL):
        for metric in (S.DPRIME, S.DPRIME_GABOR):
            folds = [of_fold for _, of_fold in of_trial.groupby(S.FOLD, dropna=False)]
            ends = np.array([ends_over_runs(of_fold, metric) for of_fold in folds])
            scores = np.array([of_fold[metric].mean() if metric in of_fold else np.nan for of_fold in folds])
            reach = np.linalg.norm(ends - scores[:, None], axis=0) / len(folds)
            low, high = max(0.0, scores.mean() - reach[0]), scores.mean() + reach[1]
            found.setdefault(int(trial), {}).update({f"{metric}_low": low, f"{metric}_high": high})
    return pd.DataFrame.from_dict(found, orient="index")


def image_quality_curves(table: ResultsTable) -> pd.DataFrame:
    """Rows of trial, curve, frequency_per_mm and value, as ``image_quality`` takes its rows; means over a trial's runs."""
    files = table.folder
    frames = []
    if files.image_quality.is_file():
        frames.append(read_frame(files.image_quality))
    if files.evaluation_image_quality.is_file():
        frames.append(table.of_own_data(read_frame(files.evaluation_image_quality), table.claim_split))
    found = [frame[frame[S.SPLIT] == table.claim_split] for frame in frames if len(frame)]
    if not any(map(len, found)):
        raise NotApplicable(f"The study folder holds no {StudyFolder.image_quality}.")
    place = [S.TRIAL, S.CURVE, S.FREQUENCY]
    means = [frame.groupby(place, as_index=False, sort=False)[S.VALUE].mean() for frame in found]
    return pd.concat(means, ignore_index=True).drop_duplicates(place).astype({S.TRIAL: int})


def ends_over_runs(of_method: pd.DataFrame, metric: str) -> tuple[float, float]:
    """The ends of a mean over a method's runs, NaN where the runs have none themselves.

    All runs see the same places, so the mean of their ends is what places leave open; what runs do is independent of it
    and added as MOVER has it (Zou & Donner 2008, Statistics in Medicine 27:1693-1702). None of these scores is below 0.
    """
    columns = [metric, f"{metric}_low", f"{metric}_high"]
    if not set(columns) <= set(of_method):
        return math.nan, math.nan
    runs = of_method[columns].dropna()
    if runs.empty:
        return math.nan, math.nan
    score, low, high = runs.mean()
    reach = (
        stats.t.ppf((1 + statistics.CONFIDENCE) / 2, len(runs) - 1) * stats.sem(runs[metric])
        if len(runs) > 1
        else 0
    )
    return max(0.0, score - math.hypot(score - low, reach)), score + math.hypot(high - score, reach)
