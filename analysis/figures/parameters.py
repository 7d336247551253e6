"""What was searched: importance of each parameter, and all configurations as parallel coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale, scale_of, scale_over
from analysis.figures import style
from analysis.figures.points import hover_text, study_colours
from analysis.importance import Importance, parameter_importance
from analysis.metric_info import metric_info
from analysis.names import parameter_name
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.selection import front_trials
from analysis.unavailable import NotApplicable, Unavailable

_NOT_APPLICABLE = -0.1  # where an axis puts trials that a conditional parameter does not apply to


def compute_importance(table: ResultsTable, objective: int) -> Importance:
    """Importances for the study's n-th objective."""
    if objective >= len(table.objectives):
        raise NotApplicable(f"The study has {len(table.objectives)} objective(s).")
    return parameter_importance(table, table.objectives[objective])


def draw_importance(data: Importance) -> go.Figure:
    """Bars, the most important on top; whiskers are the spread over folds and shuffles."""
    rows, label = data.rows[::-1], metric_info(data.objective).label
    figure = style.figure(x="fall of R² when shuffled", y="", height=130 + 34 * len(rows))
    figure.add_bar(
        x=rows["importance"].tolist(),
        y=rows["parameter"].tolist(),
        orientation="h",
        marker={"color": style.NEUTRAL},
        error_x={
            "type": "data",
            "array": rows["spread"].tolist(),
            "thickness": 1,
            "width": 3,
            "color": style.NEUTRAL,
        },
        hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        title={
            "text": f"{label}<br>held-out R² {data.r_squared:.2f}, {data.trials} trials",
            "font": {"size": 13},
            "x": 0,
            "xref": "paper",
        },
        margin={"t": 56},
    )
    return figure


@dataclass(frozen=True)
class Axis:
    """One vertical axis: its title and its ticks as (height in [0, 1], text)."""

    title: str
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class ParallelData:
    """Rows of trial, architecture, colour, on_front, text, and the heights "0", "1", ... on each axis."""

    axes: list[Axis]
    lines: pd.DataFrame


def compute_parallel(table: ResultsTable) -> ParallelData:
    """Searched parameters and objectives of the complete trials, each scaled to its own axis."""
    scores = table.complete_scores(SEARCH_SPLIT, table.objectives).dropna()
    if len(scores) < 2 or not table.searched:
        raise Unavailable("Parallel coordinates need two complete trials that differ in some parameter.")
    columns = [
        (parameter_name(c), table.trials.loc[scores.index, c], scale_of(table, c)) for c in table.searched
    ]
    columns += [(style.metric_label(m, table.direction(m)), scores[m], None) for m in table.objectives]
    axes: list[Axis] = []
    heights: dict[int, np.ndarray] = {}
    for k, (title, column, scale) in enumerate(columns):
        axis, heights[k] = _axis(title, column, scale)
        axes.append(axis)
    front, colours = set(front_trials(table)), study_colours(table)
    lines = pd.DataFrame(
        {
            "trial": scores.index.astype(int),
            "architecture": [table.architecture(t) for t in scores.index],
            "colour": [colours[table.architecture(t)] for t in scores.index],
            "on_front": [t in front for t in scores.index],
            "text": [hover_text(table, t) for t in scores.index],
            **{str(k): values for k, values in heights.items()},
        }
    )
    return ParallelData(axes, lines)


def _axis(title: str, column: pd.Series, scale: AxisScale | None) -> tuple[Axis, np.ndarray]:
    numeric = pd.to_numeric(column, errors="coerce")
    if numeric.notna().sum() == column.notna().sum() and numeric.nunique() > 1:
        values = numeric.to_numpy(dtype=float)
        return _numeric_axis(title, values, scale or scale_over(values[~np.isnan(values)], "linear"))
    # Not column.astype(str): it may spell a number otherwise than str() does.
    texts = [None if pd.isna(value) else str(value) for value in column]
    names = sorted({text for text in texts if text is not None})
    places = {name: (k + 0.5) / len(names) for k, name in enumerate(names)}
    heights = [_NOT_APPLICABLE if text is None else places[text] for text in texts]
    return Axis(title, [(place, name) for name, place in places.items()]), np.asarray(heights, dtype=float)


def _numeric_axis(title: str, values: np.ndarray, scale: AxisScale) -> tuple[Axis, np.ndarray]:
    positions = scale.positions(values)
    low, high = np.nanmin(positions), np.nanmax(positions)
    span = high - low or 1.0
    ticks = [
        (float((at - low) / span), text) for at, text in scale.ticks() if low - 1e-9 <= at <= high + 1e-9
    ]
    heights = (positions - low) / span
    return Axis(title, ticks), np.where(np.isnan(heights), _NOT_APPLICABLE, heights)


def draw_parallel(data: ParallelData) -> go.Figure:
    """A polyline a trial; those of the front are strong. Below an axis: the parameter does not apply."""
    colours = style.colours_of(data.lines)
    figure = style.figure(x="", y="", height=440)
    for (architecture, on_front), group in data.lines.groupby(["architecture", "on_front"]):
        long = group.melt(
            id_vars=["trial", "text"],
            value_vars=[str(k) for k in range(len(data.axes))],
            var_name="axis",
            value_name="height",
        )
        long["axis"] = long["axis"].astype(int)
        x, y, trials, texts = style.broken_lines(long, "trial", ["axis", "height", "trial", "text"])
        figure.add_scatter(
            x=x,
            y=y,
            customdata=trials,
            text=texts,
            mode="lines",
            name=f"{architecture}{', front' if on_front else ''}",
            opacity=0.95 if on_front else 0.45,
            line={"color": colours[str(architecture)], "width": 2.5 if on_front else 1},
            hovertemplate="%{text}<extra></extra>",
        )
    line = {"type": "line", "yref": "y domain", "y0": 0, "y1": 1, "layer": "below"}
    label = {"xanchor": "left", "xshift": 3, "showarrow": False, "font": {"size": 10}}
    figure.update_layout(
        shapes=[
            {**line, "x0": k, "x1": k, "line": {"color": style.NEUTRAL, "width": 1}}
            for k in range(len(data.axes))
        ],
        annotations=[
            {**label, "x": k, "y": height, "text": text, "bgcolor": style.LABEL_BACKGROUND}
            for k, axis in enumerate(data.axes)
            for height, text in axis.ticks
        ],
    )
    figure.update_xaxes(
        tickvals=list(range(len(data.axes))),
        ticktext=[a.title.replace(" ", "<br>", 1) for a in data.axes],
        showgrid=False,
    )
    figure.update_xaxes(range=[-0.3, len(data.axes) - 0.4])
    figure.update_yaxes(visible=False, range=[-0.15, 1.08])
    return figure
