"""Trials as points of a chart: one row a trial with what it is drawn by, and the traces of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale
from analysis.figures import style
from analysis.figures.markup import plain_text
from analysis.metric_info import is_metric, metric_info
from analysis.names import method_name
from analysis.results_table import ALPHA, PLAIN_MODES, ResultsTable
from analysis.selection import baseline, front_trials, picks
from taskct_core import schema as S

MOST_DRAWN = 2000
POSITION = "position"  # of a parameter's value on the axis that it is drawn on


def trial_points(table: ResultsTable, split: str, columns: Sequence[str]) -> pd.DataFrame:
    """One row a trial that has all the scores: trial, architecture, colour, method, status, alpha, text, drawn, columns."""
    scores = table.scores(split, columns)
    scores = scores[np.isfinite(scores).all(axis=1)] if len(scores.columns) == len(columns) else scores[:0]
    scores = scores.loc[scores.index.intersection(table.trials.index)]
    points = table.fact(_every_trial).loc[scores.index].reset_index(drop=True)
    return points.join(scores.reset_index(drop=True))


def _every_trial(table: ResultsTable) -> pd.DataFrame:
    """The columns of ``trial_points`` that are no scores, for every trial, indexed by its number."""
    trials, colours = table.trials, study_colours(table)
    architectures = [table.architecture(trial) for trial in trials.index]
    return pd.DataFrame(
        {
            "trial": trials.index.astype(int),
            "architecture": architectures,
            "colour": [colours[architecture] for architecture in architectures],
            "method": trials[S.METHOD].to_numpy(),
            "status": trials[S.STATUS].to_numpy(),
            "alpha": trials[ALPHA].to_numpy(dtype=float) if ALPHA in trials else np.nan,
            "text": [hover_text(table, trial) for trial in trials.index],
            "drawn": trials.index.isin(list(drawn_trials(table))),
        },
        index=trials.index,
    )


def trained_alphas(points: pd.DataFrame) -> pd.Series:
    """The alpha of each trial; 0 for training without a task loss, whatever a search drew for it."""
    return points["alpha"].where(~points["method"].isin(PLAIN_MODES), 0.0)


def study_colours(table: ResultsTable) -> dict[str, str]:
    """The colour of each of the study's architectures: the same in every chart, whatever trials it shows."""
    return style.architecture_colours({table.architecture(trial) for trial in table.trials.index})


def reference_points(table: ResultsTable, split: str, columns: Sequence[str]) -> pd.DataFrame:
    """One row a reference with finite scores: trial (negative), method, columns."""
    scores = table.scores(split, columns)
    scores = scores.loc[scores.index.intersection(table.references.index)]
    scores = scores[np.isfinite(scores).all(axis=1)] if len(scores.columns) == len(columns) else scores[:0]
    frame = pd.DataFrame(
        {
            "trial": scores.index.astype(int),
            "method": table.references.loc[scores.index, S.METHOD].to_numpy(),
        }
    )
    return frame.join(scores.reset_index(drop=True))


def hover_text(table: ResultsTable, trial: int) -> str:
    """What a trial's marker shows beneath the pointer, as HTML."""
    status = str(table.trials.at[trial, S.STATUS]).lower()
    lines = [f"<b>{table.label(trial)}</b> ({status})", *table.descriptions[trial].split(", ")]
    return plain_text("<br>".join(lines))


def drawn_trials(table: ResultsTable) -> set[int]:
    """The trials that charts draw: all, or of very many those that are chosen, the front, and an even sample.

    A browser draws a few thousand markers quickly; beyond that they lie on each other anyhow. Fronts, curves and
    statistics are of all.
    """
    return table.fact(_drawn_trials)


def _drawn_trials(table: ResultsTable) -> set[int]:
    trials = [int(trial) for trial in table.trials.index]
    if len(trials) <= MOST_DRAWN:
        return set(trials)
    base = baseline(table)
    chosen = {*front_trials(table), *(pick.trial for pick in [*picks(table), *([base] if base else [])])}
    others = [trial for trial in trials if trial not in chosen]
    places = np.linspace(0, len(others) - 1, MOST_DRAWN).astype(int)
    return chosen | {others[place] for place in places}


def series_traces(
    points: pd.DataFrame,
    x: str,
    y: str,
    colours: dict[str, str],
    size: int = 9,
    by_alpha: AxisScale | None = None,
) -> list[go.Scatter]:
    """Markers, one trace for each architecture and method; ``customdata`` is the trial's number.

    Coloured by architecture or, given a scale of alpha, by that, on the figure's colour axis.
    """
    traces = []
    points = points[points["drawn"]]
    for (architecture, method), group in points.groupby(["architecture", "method"], sort=True):
        symbol = style.METHOD_MARKERS.get(str(method), "circle")
        open_marker = [symbol if status == S.COMPLETE else f"{symbol}-open" for status in group["status"]]
        shown = open_marker[0] if len(set(open_marker)) == 1 else open_marker
        traces.append(
            go.Scatter(
                x=group[x].tolist(),
                y=group[y].tolist(),
                customdata=group["trial"].tolist(),
                text=group["text"].to_numpy(dtype=object),
                mode="markers",
                name=f"{architecture}, {method_name(str(method))}",
                marker={
                    "symbol": shown,
                    "size": size,
                    "line": {"width": 1, "color": style.NEUTRAL},  # seen on white and on near-black
                    **_colour(group, colours[str(architecture)], by_alpha),
                },
                hovertemplate="%{text}<br>" + _coordinates(x, y) + "<extra></extra>",
            )
        )
    return traces


def _colour(group: pd.DataFrame, colour: str, by_alpha: AxisScale | None) -> dict[str, Any]:
    if by_alpha is None:
        return {"color": colour}
    alphas = trained_alphas(group)
    if alphas.isna().all():
        return {"color": style.NEUTRAL}
    return {"color": by_alpha.positions(alphas).tolist(), "coloraxis": "coloraxis"}


def reference_traces(points: pd.DataFrame, x: str, y: str, label: str = "middle right") -> list[go.Scatter]:
    """References as grey markers, each with its name at that side of it."""
    return [
        go.Scatter(
            x=[row[x]],
            y=[row[y]],
            customdata=[int(row["trial"])],
            mode="markers+text",
            text=[f" {method_name(str(row['method']))}"],
            textposition=label,
            textfont={"color": style.NEUTRAL},
            cliponaxis=False,
            name=method_name(str(row["method"])),
            showlegend=False,
            marker={
                "symbol": style.REFERENCE_MARKERS.get(str(row["method"]), "x-thin-open"),
                "size": 11,
                "color": style.NEUTRAL,
                "line": {"width": 2, "color": style.NEUTRAL},
            },
            hovertemplate="%{fullData.name}<br>" + _coordinates(x, y) + "<extra></extra>",
        )
        for row in points.to_dict("records")
    ]


def _coordinates(x: str, y: str) -> str:
    """Both scores; the hover text says already which parameter a position on an axis stands for."""
    lines = [
        f"{metric_info(name).label if is_metric(name) else name} %{{{axis}:.4g}}"
        for axis, name in (("x", x), ("y", y))
        if name != POSITION
    ]
    return "<br>".join(lines)
