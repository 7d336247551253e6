"""The search over time: hypervolume after each trial, and every trial's learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures import style
from analysis.figures.points import hover_text, study_colours
from analysis.metric_info import metric_info
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.search_history import hypervolume_history, reference_point
from analysis.selection import front_trials, picks
from analysis.unavailable import Unavailable
from taskct_core import schema as S

_MOST_POINTS_A_CURVE = 40
_EACH_EPOCH_NAMED = 10  # at most so many epochs have a tick each
_MOST_CURVES = 300  # of more trials, those of the front and the best by the metric


@dataclass(frozen=True)
class HypervolumeData:
    """Rows of ``hypervolume_history``, and the reference point that they are measured from."""

    history: pd.DataFrame
    reference: dict[str, float]
    against: Literal["trials", "seconds"]


def compute_hypervolume(
    table: ResultsTable, against: Literal["trials", "seconds"] = "trials"
) -> HypervolumeData:
    """The growth of the front's hypervolume on the search split."""
    if not 2 <= len(table.objectives) <= 3:
        raise Unavailable(
            f"Hypervolume is drawn for two or three objectives; this study has {len(table.objectives)}."
        )
    reference = reference_point(table)
    history = table.fact(hypervolume_history)
    if history.empty:
        raise Unavailable("No trial is complete yet.")
    if against == "seconds" and history["seconds"].isna().any():
        raise Unavailable("The results hold no training seconds.")
    return HypervolumeData(history, reference, against)


def draw_hypervolume(data: HypervolumeData) -> go.Figure:
    """A staircase: the front grows when a trial finishes."""
    titles = {"trials": "complete trials", "seconds": "training time, summed over trials [s]"}
    figure = style.figure(x=titles[data.against], y="hypervolume", height=340)
    volume = data.history["hypervolume"]
    steps = data.history[
        (volume.diff() != 0) | (volume.index == volume.index[-1])
    ]  # where the staircase rises, and its end
    figure.add_scatter(
        x=steps[data.against].tolist(),
        y=steps["hypervolume"].tolist(),
        mode="lines+markers",
        line={"shape": "hv", "color": style.NEUTRAL, "width": 2},
        marker={"size": 4},
        name="front on validation",
        showlegend=False,
        hovertemplate="%{x:.4g}: hypervolume %{y:.4g}<extra></extra>",
    )
    corner = "".join(f"<br>{metric_info(name).label} {value:.4g}" for name, value in data.reference.items())
    figure.add_annotation(
        text=f"measured from{corner}",
        align="right",
        xref="paper",
        yref="paper",
        x=1,
        y=0.02,
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"color": style.NEUTRAL, "size": 11},
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


@dataclass(frozen=True)
class LearningCurveData:
    """Rows of trial, architecture, colour, status, epoch, score, text; sorted by trial and epoch.

    ``step`` is what an epoch of them is: a run, where trials are repeated over folds and seeds.
    """

    metric: str
    step: str
    curves: pd.DataFrame


def compute_learning_curves(table: ResultsTable, metric: str) -> LearningCurveData:
    """The metric of every trial on the search split at each epoch, at most 40 epochs a trial."""
    if metric not in table.metrics:
        raise Unavailable(f"The results hold no finite value of {metric}.")
    rows = table.rows
    rows = rows[
        (rows[S.SPLIT] == SEARCH_SPLIT) & rows[S.TRIAL].isin(table.trials.index) & rows[metric].notna()
    ]
    rows = rows[rows[S.TRIAL].isin(_shown_curves(table, metric))]
    rows = rows.sort_values([S.TRIAL, S.EPOCH]).drop_duplicates([S.TRIAL, S.EPOCH], keep="last")
    if rows.empty:
        raise Unavailable("No trial has reported an epoch yet.")
    if rows[S.EPOCH].nunique() < 2:
        raise Unavailable("Every trial has one evaluated epoch only, which makes no curve.")
    position = rows.groupby(S.TRIAL).cumcount(ascending=False)
    step = np.ceil(rows.groupby(S.TRIAL)[S.EPOCH].transform("size") / _MOST_POINTS_A_CURVE)
    rows = rows[position % step == 0]  # counted from the last epoch, which stays
    trials = rows[S.TRIAL].astype(int)
    texts = {trial: hover_text(table, trial) for trial in trials.unique()}
    architectures = {trial: table.architecture(trial) for trial in trials.unique()}
    curves = pd.DataFrame(
        {
            "trial": trials,
            "architecture": trials.map(architectures),
            "colour": trials.map(architectures).map(study_colours(table)),
            "status": trials.map(table.trials[S.STATUS]),
            "epoch": rows[S.EPOCH],
            "score": rows[metric].astype(float),
            "text": trials.map(texts),
        }
    )
    # While the first trial runs there is no whole one whose runs tell it.
    step = "run" if table.study.repeats_trials or not table.runs.empty else "epoch"
    return LearningCurveData(metric, step, curves.reset_index(drop=True))


def _shown_curves(table: ResultsTable, metric: str) -> list[int]:
    trials = [int(trial) for trial in table.trials.index]
    if len(trials) <= _MOST_CURVES:
        return trials
    scores = table.complete_scores(SEARCH_SPLIT, [metric])[metric].dropna()
    best = scores.sort_values(ascending=table.direction(metric) == "minimize").index
    chosen = [*front_trials(table), *(pick.trial for pick in picks(table)), *(int(trial) for trial in best)]
    return list(dict.fromkeys([*chosen, *trials]))[:_MOST_CURVES]


def draw_learning_curves(data: LearningCurveData) -> go.Figure:
    """One line a trial; a cross ends those that were pruned, a ring those still running."""
    colours = style.colours_of(data.curves)
    figure = style.figure(x=data.step, y=style.metric_label(data.metric), height=380)
    if data.curves["epoch"].max() <= _EACH_EPOCH_NAMED:
        figure.update_xaxes(dtick=1)  # there is no epoch 1.5
    hover = f"%{{text}}<br>{data.step} %{{x}}: %{{y:.4g}}<extra></extra>"
    for architecture, group in data.curves.groupby("architecture"):
        figure.add_trace(_lines(group, str(architecture), colours[str(architecture)], hover))
    ends = data.curves.groupby("trial").last().reset_index()
    for status, symbol, name in ((S.PRUNED, "x", "pruned"), (S.RUNNING, "circle-open", "running")):
        stopped = ends[ends["status"] == status]
        if len(stopped):
            figure.add_scatter(
                x=stopped["epoch"].tolist(),
                y=stopped["score"].tolist(),
                customdata=stopped["trial"].tolist(),
                text=stopped["text"].tolist(),
                mode="markers",
                name=name,
                marker={"symbol": symbol, "size": 8, "color": style.NEUTRAL, "line": {"width": 1}},
                hovertemplate=hover,
            )
    return figure


def _lines(group: pd.DataFrame, architecture: str, colour: str, hover: str) -> go.Scatter:
    x, y, trials, texts = style.broken_lines(group, "trial", ["epoch", "score", "trial", "text"])
    return go.Scatter(
        x=x,
        y=y,
        customdata=trials,
        text=texts,
        mode="lines",
        name=architecture,
        opacity=0.85,
        line={"color": colour, "width": 1.5},
        hovertemplate=hover,
    )
