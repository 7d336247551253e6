"""The fronts of single trials of mode ``front``: a line through a trial's points, over alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale
from analysis.continuous_fronts import continuous_fronts
from analysis.figures import style
from analysis.figures.points import reference_points, reference_traces, study_colours
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.unavailable import NotApplicable
from taskct_core import schema as S


@dataclass(frozen=True)
class ContinuousFrontData:
    """Trial -> its points (alpha, ``x``, ``y``) in the order of alpha; the colours of trials; references."""

    x: str
    y: str
    directions: tuple[S.Direction, S.Direction]
    fronts: dict[int, pd.DataFrame]
    colours: dict[int, str]
    references: pd.DataFrame


def compute_continuous_front(table: ResultsTable, x: str, y: str) -> ContinuousFrontData:
    """The points of every front trial on validation, where an alpha may be chosen by them."""
    split = SEARCH_SPLIT
    fronts = continuous_fronts(table, x, y, split)
    if not fronts:
        raise NotApplicable("No trial of mode front is complete.")
    by_architecture = study_colours(table)
    colours = {trial: by_architecture[table.architecture(trial)] for trial in fronts}
    references = reference_points(table, split, (x, y))
    references = references[references["method"] != "full_dose"]  # its PSNR is infinite
    return ContinuousFrontData(x, y, (table.direction(x), table.direction(y)), fronts, colours, references)


def draw_continuous_front(data: ContinuousFrontData) -> go.Figure:
    """A line with a small marker for each alpha scored; the last trace is where the page's slider stands."""
    x, y = (style.metric_label(*axis) for axis in zip((data.x, data.y), data.directions, strict=True))
    figure = style.figure(x=x, y=y, height=420)
    for trial, points in data.fronts.items():
        figure.add_traces(front_line(trial, points, data.x, data.y, data.colours[trial]))
    figure.add_traces(reference_traces(data.references, data.x, data.y))
    trial, points = next(iter(data.fronts.items()))
    middle = points.iloc[len(points) // 2]
    figure.add_scatter(
        x=[middle[data.x]],
        y=[middle[data.y]],
        mode="markers",
        name="slider",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "symbol": "circle-open",
            "size": 18,
            "color": data.colours[trial],
            "line": {"width": 3, "color": data.colours[trial]},
        },
        meta={"role": "slider"},
    )
    return figure


def front_line(
    trial: int, points: pd.DataFrame, x: str, y: str, colour: str, by_alpha: AxisScale | None = None
) -> go.Scatter:
    """The points of one front trial, joined in the order of alpha, which may colour them."""
    marker: dict[str, Any] = {"size": 5, "color": colour}
    if by_alpha is not None:
        marker = {"size": 7, "color": by_alpha.positions(points[S.ALPHA]).tolist(), "coloraxis": "coloraxis"}
    return go.Scatter(
        x=points[x].tolist(),
        y=points[y].tolist(),
        customdata=[trial] * len(points),
        mode="lines+markers",
        name=f"trial {trial}, alpha {points[S.ALPHA].iloc[0]:g} to {points[S.ALPHA].iloc[-1]:g}",
        line={"color": colour, "width": 1.5},
        marker=marker,
        meta={"role": "continuous front", "alphas": points[S.ALPHA].tolist()},
        hovertemplate="%{x:.4g}, %{y:.4g}<extra>%{fullData.name}</extra>",
    )
