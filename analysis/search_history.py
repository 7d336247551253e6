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
    front = np.empty((0, len(corner)))
    volume, rows = 0.0, []
    for count, trial in enumerate((t for t in trials.index if t in scores.index), start=1):
        candidate = np.vstack([front, scores.loc[trial].to_numpy()])
        keep = pareto.non_dominated(candidate, directions)
        if keep[-1]:  # a dominated trial changes nothing
            front = candidate[keep]
            volume = pareto.hypervolume(front, corner, directions)
        rows.append(
            {"trial": int(trial), "trials": count, "seconds": float(seconds[trial]), "hypervolume": volume}
        )
    return pd.DataFrame(rows, columns=["trial", "trials", "seconds", "hypervolume"])


def _in_finishing_order(table: ResultsTable) -> pd.DataFrame:
    trials = table.trials[table.trials[S.STATUS] != S.RUNNING]
    if S.FINISHED_AT in trials and trials[S.FINISHED_AT].notna().all():
        return trials.sort_values(S.FINISHED_AT, kind="stable")
    return trials.sort_index()
