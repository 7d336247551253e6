"""How the search went: the hypervolume of the front after every finished trial."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from taskct_core import schema as S


def reference_point(table: ResultsTable) -> dict[str, float]:
    """Objective -> the worst finite score of any complete trial or of FBP on the search split.

    Hypervolumes are comparable only with the same reference point.
    """
    scores = table.complete_scores(SEARCH_SPLIT, table.objectives)
    fbp = table.reference("fbp")
    every = table.scores(SEARCH_SPLIT, table.objectives)
    scores = pd.concat([scores, every.loc[every.index == fbp]]).replace([np.inf, -np.inf], np.nan)
    return {
        name: float(scores[name].min() if table.direction(name) == "maximize" else scores[name].max())
        for name in table.objectives
    }


def hypervolume_history(table: ResultsTable, reference: dict[str, float] | None = None) -> pd.DataFrame:
    """After each complete trial, in the order they finished: trials so far, seconds, hypervolume.

    Seconds are of training, summed over all trials up to then, failed and pruned ones included. The
    order is that of ``finished_at``, else of the trial numbers.
    """
    reference = reference_point(table) if reference is None else reference
    directions = [table.direction(name) for name in table.objectives]
    corner = [reference[name] for name in table.objectives]
    trials = _in_finishing_order(table)
    scores = table.complete_scores(SEARCH_SPLIT, table.objectives)
    seconds = trials[S.SECONDS].fillna(0).cumsum() if S.SECONDS in trials else pd.Series(np.nan, trials.index)
    finished = [trial for trial in trials.index if trial in scores.index]
    points = scores.loc[finished].to_numpy()
    costs = pareto.as_costs(points, directions)
    front = np.empty((0, len(corner)))
    volume, volumes = 0.0, []
    for point, cost in zip(points, costs, strict=True):
        if not (pareto.as_costs(front, directions) <= cost).all(axis=1).any():  # else it changes nothing
            candidate = np.vstack([front, point])
            front = candidate[pareto.non_dominated(candidate, directions)]
            volume = pareto.hypervolume(front, corner, directions)
        volumes.append(volume)
    return pd.DataFrame(
        {
            "trial": np.asarray(finished, dtype=int),
            "trials": np.arange(1, len(finished) + 1),
            "seconds": seconds.reindex(finished).to_numpy(dtype=float),
            "hypervolume": np.asarray(volumes, dtype=float),
        }
    )


def _in_finishing_order(table: ResultsTable) -> pd.DataFrame:
    trials = table.trials[table.trials[S.STATUS] != S.RUNNING]
    if S.FINISHED_AT in trials and trials[S.FINISHED_AT].notna().all():
        return trials.sort_values(S.FINISHED_AT, kind="stable")
    return trials.sort_index()
