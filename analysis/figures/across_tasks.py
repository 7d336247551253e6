"""Methods over all studies that are compared: interquartile mean of the gap closed, probability of improvement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.across_tasks import FEWEST_RUNS, Runs, interquartile_mean, probability_of_improvement
from analysis.contestants import shown_whole
from analysis.figures import style
from analysis.figures.method_profiles import MethodProfileData, draw_method_profiles
from analysis.method_draws import best_traditional, gap_shares
from analysis.method_scores import shown_rows
from analysis.results_table import ResultsTable
from analysis.several_studies import StudyComparison
from analysis.unavailable import NotApplicable
from taskct_core import schema as S

MIDDLE, BETTER = "interquartile mean", "probability of improvement"


@dataclass(frozen=True)
class AcrossTasksData:
    """Rows of metric (``MIDDLE`` or ``BETTER``), name, score, low, high; what the second is against."""

    rows: pd.DataFrame
    against: str
    studies: int


def compute_across_tasks(comparison: StudyComparison) -> AcrossTasksData:
    """Of the methods that have three and more seeds in every study; each is compared with the first of them."""
    if not all(
        map(shown_whole, comparison.tables)
    ):  # else methods are trials, whose numbers say nothing elsewhere
        raise NotApplicable("A study has more configurations than names that say what each one is.")
    of_studies = [_gap_of_runs(table) for table in comparison.tables]
    shared = [name for name in of_studies[0] if all(name in study for study in of_studies)]
    if not shared:
        raise NotApplicable(f"No method has {FEWEST_RUNS} seeds and a gap to full dose in every study.")
    runs = {name: Runs([study[name] for study in of_studies]) for name in shared}
    rows = [
        {"metric": MIDDLE, "name": name, **vars(interquartile_mean(found))} for name, found in runs.items()
    ]
    rows += [
        {"metric": BETTER, "name": name, **vars(probability_of_improvement(runs[name], runs[shared[0]]))}
        for name in shared[1:]
    ]
    return AcrossTasksData(pd.DataFrame(rows).rename(columns={"value": "score"}), shared[0], len(of_studies))


def draw_across_tasks(data: AcrossTasksData) -> go.Figure:
    """Two panels with 95 % intervals over training runs within the studies."""
    titles = {
        MIDDLE: f"interquartile mean of the gap closed, {data.studies} studies",
        BETTER: f"probability that a run beats one of {data.against}",
    }
    figure = draw_method_profiles(MethodProfileData("", data.rows, titles))
    if (data.rows["metric"] == BETTER).any():
        figure.add_vline(x=0.5, line={"color": style.NEUTRAL, "width": 1, "dash": "dash"}, row=2, col=1)
    return figure


def _gap_of_runs(table: ResultsTable) -> dict[str, np.ndarray]:
    """Method -> the share of the gap in mean Dice that each of its runs closes."""
    lower, upper = best_traditional(table), table.reference("full_dose")
    dice = table.scores(table.claim_split, [S.PRIMARY_DICE])
    if lower is None or upper is None or S.PRIMARY_DICE not in dice or not {lower, upper} <= set(dice.index):
        return {}
    ends = dice.loc[[lower, upper], S.PRIMARY_DICE].to_numpy()
    found = {}
    for method in shown_rows(table):
        scores = _runs_of(table, method.trials, dice[S.PRIMARY_DICE])
        if method.trials[0] >= 0 and len(scores) >= FEWEST_RUNS:
            shares = [gap_shares(np.array([[*ends, score]]), 0, 1)[0, 2] for score in scores]
            found[method.label] = np.array(shares)
    return found


def _runs_of(table: ResultsTable, trials: tuple[int, ...], dice: pd.Series) -> list[float]:
    """A score a seed: of the trial's runs where trials are repeated (means over folds), else of its trials."""
    if table.runs.empty:
        return [float(score) for score in dice.reindex(list(trials)).dropna()]
    runs = table.runs[table.runs[S.TRIAL].isin(trials) & (table.runs[S.SPLIT] == table.claim_split)]
    return [float(score) for score in runs.groupby(S.SEED)[S.PRIMARY_DICE].mean().dropna()]
