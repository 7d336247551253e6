"""Trials of mode ``front``: their points by alpha, and whether these can be believed. Pure of drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.results_table import ALPHA as CONFIG_ALPHA
from analysis.results_table import ARCHITECTURE, ResultsTable
from taskct_core import schema as S

_PARAMETERS = ("width", "depth", "iterations")  # of architectures


@dataclass(frozen=True)
class Validity:
    """How far a trial's front is a front, and one that trainings of single alphas would give.

    Attributes:
        points: how many alphas it was scored at.
        non_dominated: share of them that no other of them dominates.
        monotone: share of neighbours in alpha between which ``y`` does not get worse and ``x`` not better.
        compared: how many alphas an independent training of the same architecture has, too.
        x_distance, y_distance: mean absolute difference from those; NaN where there are none.
    """

    points: int
    non_dominated: float
    monotone: float
    compared: int
    x_distance: float
    y_distance: float


def continuous_fronts(table: ResultsTable, x: str, y: str, split: str) -> dict[int, pd.DataFrame]:
    """Front trial -> its points with finite scores on a split, in the order of their ``alpha``: alpha, ``x``, ``y``."""
    points = table.front_points
    if points.empty or not {x, y} <= set(points):
        return {}
    points = points[points[S.SPLIT] == split]
    points = points[np.isfinite(points[[x, y]].astype(float)).all(axis=1)]
    complete = table.trials.index[table.trials[S.STATUS] == S.COMPLETE]
    return {
        int(trial): group.sort_values(S.ALPHA)[[S.ALPHA, x, y]].reset_index(drop=True)
        for trial, group in points.groupby(S.TRIAL)
        if trial in complete
    }


def validity(table: ResultsTable, trial: int, x: str, y: str, split: str) -> Validity:
    """Judge one of ``continuous_fronts``."""
    front = continuous_fronts(table, x, y, split)[trial]
    values = front[[x, y]].to_numpy(dtype=float)
    signs = np.array([1.0 if table.direction(name) == "maximize" else -1.0 for name in (x, y)])
    steps = np.diff(values, axis=0) * signs
    monotone = ((steps[:, 0] <= 0) & (steps[:, 1] >= 0)).mean() if len(steps) else float("nan")
    twins = _independent(table, trial, x, y, split)
    both = front.assign(key=front[S.ALPHA].round(6)).merge(twins, on="key", suffixes=("", "_alone"))
    distances = [float((both[name] - both[f"{name}_alone"]).abs().mean()) for name in (x, y)]
    directions = (table.direction(x), table.direction(y))
    shares = float(pareto.non_dominated(values, directions).mean()), float(monotone)
    return Validity(len(front), *shares, len(both), *distances)


def _independent(table: ResultsTable, trial: int, x: str, y: str, split: str) -> pd.DataFrame:
    """Means over complete task-adaptive trials of the same architecture, one row an alpha: key, ``x``, ``y``."""
    columns = [ARCHITECTURE, *(S.CONFIG_PREFIX + name for name in _PARAMETERS)]
    columns = [name for name in columns if name in table.trials]
    same = table.trials[table.trials[S.METHOD] == "task_adaptive"]
    for name in columns:
        wanted = table.trials.at[trial, name]
        same = same[same[name].isna() if pd.isna(wanted) else same[name] == wanted]
    scores = table.complete_scores(split, [x, y])
    scores = scores.loc[scores.index.intersection(same.index)].dropna()
    if scores.empty or CONFIG_ALPHA not in table.trials:
        return pd.DataFrame(columns=["key", x, y])
    keys = table.trials.loc[scores.index, CONFIG_ALPHA].astype(float).round(6)
    return scores.assign(key=keys).groupby("key", as_index=False)[[x, y]].mean()
