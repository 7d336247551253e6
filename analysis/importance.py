"""Which searched parameter moves an objective: permutation importance on trials the model did not see.

A random forest is fitted to the complete trials; importance is the fall of its R^2 on held-out trials
when one parameter is shuffled (Breiman 2001). Where the forest cannot predict held-out trials at all,
there is nothing to attribute, and that is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metric_info import metric_info
from analysis.names import parameter_name
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.unavailable import Unavailable

FEWEST_TRIALS = 20
_MOST_TRIALS = 1000  # a random subset of more
_FOLDS, _REPEATS, _TREES = 3, 4, 50


@dataclass(frozen=True)
class Importance:
    """Rows of parameter, importance, spread (standard deviation over folds and shuffles); best first."""

    objective: str
    rows: pd.DataFrame
    r_squared: float
    trials: int


def parameter_importance(table: ResultsTable, objective: str) -> Importance:
    """Importance of every searched parameter for one metric on the search split."""
    if objective not in table.metrics:
        raise Unavailable(f"The results hold no finite value of {objective}.")
    scores = table.complete_scores(SEARCH_SPLIT, [objective])[objective]
    scores = scores[np.isfinite(scores) & scores.index.isin(table.distinct_runs)]  # a repeat would leak
    if len(scores) < FEWEST_TRIALS:
        raise Unavailable(
            f"Importances need at least {FEWEST_TRIALS} complete trials; there are {len(scores)}."
        )
    if scores.nunique() < 2 or not table.searched:
        raise Unavailable("All trials have the same score or the same configuration: nothing to attribute.")
    if len(scores) > _MOST_TRIALS:
        scores = scores.sample(_MOST_TRIALS, random_state=0)
    features = _encode(table.trials.loc[scores.index, table.searched])
    r_squared, falls = _held_out_importance(features, scores.to_numpy())
    label = metric_info(objective).label
    if r_squared <= 0:
        raise Unavailable(
            f"The parameters do not predict {label} of held-out trials (R² = {r_squared:.2f}), so no "
            "parameter can be credited with it. More trials may change that."
        )
    rows = pd.DataFrame(
        {
            "parameter": [parameter_name(c) for c in table.searched],
            "importance": falls.mean(axis=1),
            "spread": falls.std(axis=1),
        }
    )
    rows = rows.sort_values("importance", ascending=False, ignore_index=True)
    return Importance(objective, rows, r_squared, len(scores))


def _encode(parameters: pd.DataFrame) -> np.ndarray:
    """Numbers as they are, names as codes; NaN where a conditional parameter does not apply."""
    columns = []
    for column in (parameters[name] for name in parameters):
        numeric = pd.to_numeric(column, errors="coerce")
        if numeric.notna().sum() == column.notna().sum():
            columns.append(numeric.to_numpy(dtype=float))
        else:
            codes = pd.factorize(column.astype("string"))[0].astype(float)
            columns.append(np.where(codes < 0, np.nan, codes))
    return np.stack(columns, axis=1)


def _held_out_importance(features: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Cross-validated R^2, and falls of R^2 as ``(parameter, fold x shuffle)``."""
    from sklearn.ensemble import RandomForestRegressor  # seconds to import
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    falls, predicted = [], np.empty_like(scores)
    for fit, held_out in KFold(_FOLDS, shuffle=True, random_state=0).split(features):
        forest = RandomForestRegressor(_TREES, random_state=0).fit(features[fit], scores[fit])
        predicted[held_out] = forest.predict(features[held_out])
        result = permutation_importance(
            forest, features[held_out], scores[held_out], n_repeats=_REPEATS, random_state=0
        )
        falls.append(result.importances)
    residual = ((scores - predicted) ** 2).sum()
    return float(1 - residual / ((scores - scores.mean()) ** 2).sum()), np.concatenate(falls, axis=1)
