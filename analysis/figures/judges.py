"""Does another task network agree? Dice under the frozen network against Dice under another, by trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.contestants import chosen_trials
from analysis.figures import style
from analysis.figures.points import reference_points, reference_traces, series_traces, trial_points
from analysis.judges import network_scores, shared_dice
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.unavailable import NotApplicable, Unavailable
from taskct_core import schema as S

OTHER = "other"
_NETWORKS = {
    S.OWN_NETWORK_SUFFIX: "own task network",
    S.AUDIT_NETWORK_SUFFIX: "second task network",
}


@dataclass(frozen=True)
class JudgesData:
    """Mean Dice under two task networks.

    Attributes:
        suffix: which other network, of ``schema.NETWORK_SUFFIXES``.
        points: one row a trial (see ``trial_points``) with ``metric`` (frozen) and ``other``.
        references: the same for references, as far as the other network has scored them.
    """

    metric: str
    suffix: str
    split: str
    points: pd.DataFrame
    references: pd.DataFrame


def compute_judges(table: ResultsTable, suffix: str, metric: str | None = None) -> JudgesData:
    """The chosen trials that both networks have scored on the split of claims, by ``judges.shared_dice``."""
    split = table.claim_split
    metric = metric or shared_dice(table, split, suffix)
    if metric not in table.metrics:
        raise Unavailable(f"The results hold no finite value of {metric}.")
    network = network_scores(table, split, suffix)
    other = network[metric] if metric in network else pd.Series(dtype=float)
    points = trial_points(table, split, (metric,))
    if split != SEARCH_SPLIT:  # else who reads the best of all here would choose by their test scores
        points = points[points["trial"].isin(chosen_trials(table))].reset_index(drop=True)
    points[OTHER] = points["trial"].map(other).astype(float)
    points = points[np.isfinite(points[OTHER])].reset_index(drop=True)
    references = reference_points(table, split, (metric,))
    references[OTHER] = references["trial"].map(other).astype(float)
    references = references[np.isfinite(references[OTHER])].reset_index(drop=True)
    if points.empty and suffix == S.OWN_NETWORK_SUFFIX:
        raise NotApplicable("No trial has trained a task network of its own.")
    if points.empty:
        raise Unavailable(
            f"No second task network has judged a trial on the {split} split. Pre-train one with another seed "
            "or architecture, then: taskct evaluate DIR --audit FOLDER."
        )
    return JudgesData(metric, suffix, split, points, references)


def draw_judges(data: JudgesData) -> go.Figure:
    """Both axes span the same range, so that the diagonal means agreement."""
    label = style.short_label(data.metric)
    figure = style.figure(
        x=f"{label}, frozen task network", y=f"{label}, {_NETWORKS[data.suffix]}", height=480
    )
    both = pd.concat([data.points, data.references])[[data.metric, OTHER]].to_numpy()
    margin = 0.06 * max(float(np.ptp(both)), 0.02)
    span = [float(both.min()) - margin, float(both.max()) + margin]
    line = {"color": style.NEUTRAL, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", x0=span[0], y0=span[0], x1=span[1], y1=span[1], line=line, layer="below")
    colours = style.colours_of(data.points)
    figure.add_traces(series_traces(data.points, data.metric, OTHER, colours))
    is_bound = data.references["method"] == "full_dose"  # at the upper end, where names have room on the left
    for references, label in (
        (data.references[is_bound], "bottom left"),
        (data.references[~is_bound], "bottom right"),
    ):
        figure.add_traces(reference_traces(references, data.metric, OTHER, label))
    figure.update_xaxes(range=span)
    figure.update_yaxes(range=span)
    return figure
