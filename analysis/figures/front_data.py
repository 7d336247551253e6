"""The trade-off: which trials are its points, and which of them no other dominates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import pareto
from analysis.axis_scales import AxisScale, scale_over
from analysis.contestants import alpha_of, chosen_trials
from analysis.continuous_fronts import continuous_fronts
from analysis.figures.points import (
    reference_points,
    trained_alphas,
    trial_points,
)
from analysis.results_table import CLAIM_SPLIT, SEARCH_SPLIT, ResultsTable
from analysis.sample_scores import intervals
from analysis.selection import baseline, front_trials, picks, recommended, short_why
from analysis.unavailable import NotApplicable, Unavailable, attempt
from taskct_core import schema as S


@dataclass(frozen=True)
class FrontData:
    """Points of a two-score chart.

    Attributes:
        points: one row a trial (see ``trial_points``) with ``on_front``, and for the trials on a front
            the ends of the 95 % intervals over patients: ``x_low``, ``x_high``, ``y_low``, ``y_high``.
        fronts: name of a front -> its trials, ordered by ``x``.
        upper_bound: ``y`` of the full-dose image, None where it was not evaluated.
        continuous: front trial -> its points: alpha, ``x``, ``y``.
        alpha: the scale that colours the points; None where their architectures do.
        labels: what is written beside some trials.
        recommended: the trial that is ringed.
    """

    x: str
    y: str
    split: str
    points: pd.DataFrame
    references: pd.DataFrame
    fronts: dict[str, list[int]]
    directions: tuple[S.Direction, S.Direction]
    upper_bound: float | None
    continuous: dict[int, pd.DataFrame] = field(default_factory=dict)
    alpha: AxisScale | None = None
    labels: dict[int, str] = field(default_factory=dict)
    recommended: int | None = None


def compute_front(table: ResultsTable, x: str, y: str, split: str | None = None) -> FrontData:
    """Trials by two metrics on validation (or the split named), with their common front: what choices are made by."""
    return _compute(table, x, y, split, by_architecture=False)


def compute_fronts_by_architecture(
    table: ResultsTable, x: str, y: str, split: str | None = None
) -> FrontData:
    """The same with a front for each architecture; unavailable where there is only one."""
    data = _compute(table, x, y, split, by_architecture=True)
    data = replace(data, alpha=None, labels={})
    if data.points["architecture"].nunique() < 2:
        only = data.points["architecture"].iloc[0]
        raise NotApplicable(
            f"All trials use one architecture ({only}); the front above is already its front."
        )
    return data


def compute_tested_front(table: ResultsTable, x: str, y: str) -> FrontData:
    """The trials that validation chose by two metrics, and what they are compared with, on the test split.

    No front is drawn through them: to join the best of them would be to choose on test.
    """
    if table.claim_split != CLAIM_SPLIT:
        raise NotApplicable("No trial has been evaluated on the test split yet.")
    chosen = {*front_trials(table, [x, y]), *chosen_trials(table)}
    data = _compute(table, x, y, CLAIM_SPLIT, by_architecture=False)
    points = data.points[data.points["trial"].isin(chosen)].assign(on_front=True)
    if points.empty:
        raise Unavailable("None of the trials that validation chose was evaluated on the test split.")
    points = points.drop(columns=["x_low", "x_high", "y_low", "y_high"]).reset_index(drop=True)
    points = _with_intervals(table, points, x, y, CLAIM_SPLIT)
    continuous = {trial: front for trial, front in data.continuous.items() if trial in chosen}
    return replace(data, points=points, fronts={}, continuous=continuous)


def compute_chosen_front(table: ResultsTable, x: str, y: str) -> FrontData:
    """The front that validation chose, at its scores on the split of claims."""
    data = compute_front(table, x, y)
    if table.claim_split == SEARCH_SPLIT:
        return data
    points = trial_points(table, table.claim_split, (x, y))
    scored = set(points["trial"])
    fronts = {name: [trial for trial in front if trial in scored] for name, front in data.fronts.items()}
    on_front = points["trial"].isin([trial for front in fronts.values() for trial in front])
    return replace(
        data,
        split=table.claim_split,
        points=points[on_front].assign(on_front=True),
        fronts={name: front for name, front in fronts.items() if front},
    )


def compute_front_of_objectives(table: ResultsTable) -> FrontData:
    """Trials by the first two objectives, where other charts do not show them: own ones, for example."""
    shown = ({S.PRIMARY_PSNR, S.PRIMARY_DICE}, {S.PRIMARY_SSIM, S.PRIMARY_DICE})
    pair = table.objectives[:2]
    if len(pair) < 2 or set(pair) in shown:
        raise NotApplicable("The search's objectives are on the charts above.")
    return compute_front(table, pair[1], pair[0])


def _compute(table: ResultsTable, x: str, y: str, split: str | None, by_architecture: bool) -> FrontData:
    split = split or SEARCH_SPLIT
    missing = [name for name in (x, y) if name not in table.metrics]
    if missing:
        raise Unavailable(f"The results hold no finite value of {' and '.join(missing)}.")
    points = trial_points(table, split, (x, y))
    if points.empty:
        raise Unavailable(f"No trial has finite {x} and {y} on the {split} split yet.")
    complete = points[points["status"] == S.COMPLETE]
    groups = complete.groupby("architecture") if by_architecture else [("all trials", complete)]
    directions = (table.direction(x), table.direction(y))
    fronts = {str(name): _front_trials(group, x, y, directions) for name, group in groups if len(group)}
    on_front = {trial for front in fronts.values() for trial in front}
    points = points.assign(on_front=points["trial"].isin(on_front))
    points = _with_intervals(table, points, x, y, split)
    references = reference_points(table, split, (x, y))
    references = references[references["method"] != "full_dose"]  # drawn as a line: its PSNR is infinite
    upper_bound = _upper_bound(table, y, split)
    continuous = continuous_fronts(table, x, y, split)
    return FrontData(
        x,
        y,
        split,
        points,
        references,
        fronts,
        directions,
        upper_bound,
        continuous,
        _alpha_scale(points, continuous),
        *_labels(table, set(points["trial"])),
    )


def _alpha_scale(points: pd.DataFrame, continuous: dict[int, pd.DataFrame]) -> AxisScale | None:
    """Of all alphas shown; None where there are no two different ones."""
    alphas = (
        pd.concat([trained_alphas(points), *(line[S.ALPHA] for line in continuous.values())])
        .dropna()
        .to_numpy(dtype=float)
    )
    return scale_over(alphas, is_share=True) if len(np.unique(alphas)) > 1 else None


def _labels(table: ResultsTable, shown: set[int]) -> tuple[dict[int, str], int | None]:
    """What is written beside the trials that the text names, and which is recommended; its alpha stands above the chart."""
    best = recommended(table)
    base = baseline(table)
    labels: dict[int, str] = {}
    for pick in [*([base] if base else []), *picks(table)]:
        alpha = alpha_of(table, pick.trial)
        labels[pick.trial] = short_why(table, pick) if alpha is None else f"alpha {alpha:.3g}"
    if best is not None:
        labels[best.trial] = "recommended"
    labels = {trial: text for trial, text in labels.items() if trial in shown}
    return labels, best.trial if best is not None and best.trial in shown else None


def _with_intervals(table: ResultsTable, points: pd.DataFrame, x: str, y: str, split: str) -> pd.DataFrame:
    ends = ["x_low", "x_high", "y_low", "y_high"]
    found = attempt(intervals, table, points.loc[points["on_front"], "trial"].tolist(), (x, y), split).result
    if found is None:
        return points.assign(**dict.fromkeys(ends, float("nan")))
    wide = found.pivot(index="trial", columns="metric", values=["low", "high"])
    columns = [("low", x), ("high", x), ("low", y), ("high", y)]
    wide = wide.reindex(columns=pd.MultiIndex.from_tuples(columns))
    wide.columns = pd.Index(ends)
    return points.merge(wide, left_on="trial", right_index=True, how="left")


def _upper_bound(table: ResultsTable, y: str, split: str) -> float | None:
    bounds = reference_points(table, split, (y,))
    found = bounds.loc[bounds["method"] == "full_dose", y]
    return float(found.iloc[0]) if len(found) else None


def _front_trials(
    points: pd.DataFrame, x: str, y: str, directions: tuple[S.Direction, S.Direction]
) -> list[int]:
    front = points[pareto.non_dominated(points[[x, y]].to_numpy(), directions)]
    return [int(trial) for trial in front.sort_values([x, y])["trial"]]
