"""The trade-off drawn: two scores against each other, the non-dominated trials joined by a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import pareto
from analysis.figures import style
from analysis.figures.continuous_front import front_line
from analysis.figures.front_data import FrontData
from analysis.figures.label_places import place_labels
from analysis.figures.points import (
    reference_traces,
    series_traces,
)
from analysis.names import method_name

_FEW_POINTS = 300  # more are drawn smaller
_GAP = "\N{NO-BREAK SPACE}"  # as often as it takes from a point, or the ring round it, to its label
_GAPS = {"point": 2, "ring": 4}


def draw_front(data: FrontData) -> go.Figure:
    """Scatter with the front as a line that steps nowhere: it only joins what was measured."""
    colours = style.colours_of(data.points)
    x, y = (style.metric_label(*axis) for axis in zip((data.x, data.y), data.directions, strict=True))
    figure = style.figure(x=x, y=y, height=480)
    size = 9 if len(data.points) <= _FEW_POINTS else 6
    by_trial = data.points.set_index("trial")
    for name, trials in data.fronts.items():
        front = _joined(data, name, by_trial.loc[trials])
        figure.add_scatter(
            x=front[data.x].tolist(),
            y=front[data.y].tolist(),
            mode="lines",
            name=f"front, {name}",
            line={"color": colours.get(name, style.NEUTRAL), "width": 2, "dash": "dot"},
            hoverinfo="skip",
            meta={
                "front": name,
                "architecture": name if name in colours and len(data.fronts) > 1 else None,
                "directions": list(data.directions),
            },
        )
    for trial, points in data.continuous.items():
        colour = colours[str(by_trial.at[trial, "architecture"])]
        figure.add_traces(front_line(trial, points, data.x, data.y, colour, data.alpha))
    figure.add_traces(_interval_traces(data, colours))
    figure.add_traces(series_traces(data.points, data.x, data.y, colours, size, data.alpha))
    figure.add_traces(_label_traces(data, by_trial))
    if data.alpha is not None:
        figure.update_layout(coloraxis=style.alpha_axis(data.alpha), margin={"t": 36})
    figure.add_traces(reference_traces(data.references, data.x, data.y))
    x_range, y_range = _ranges(data)
    figure.update_xaxes(range=x_range)
    figure.update_yaxes(range=y_range)
    if data.upper_bound is not None:
        style.add_level(figure, data.upper_bound, method_name("full_dose"))
    return figure


def _ranges(data: FrontData) -> list[tuple[float, float]]:
    """Of the axes, so that they show all points; wide intervals of few patients would crowd them."""
    shown = pd.concat(
        [
            data.points[[data.x, data.y]],
            data.references[[data.x, data.y]],
            *(line[[data.x, data.y]] for line in data.continuous.values()),
        ]
    ).astype(float)
    bound = [] if data.upper_bound is None else [data.upper_bound]
    ranges = []
    for values, direction in (
        (shown[data.x].tolist(), data.directions[0] if data.labels else None),
        ([*shown[data.y].tolist(), *bound], None),
    ):
        margin = 0.1 * (max(values) - min(values)) or 0.01 * abs(values[0]) or 1.0
        low, high = (
            4 if direction == better else 1 for better in ("minimize", "maximize")
        )  # room for labels
        ranges.append((min(values) - low * margin, max(values) + high * margin))
    return ranges


def _apart(label: str, is_ringed: bool) -> str:
    gap = _GAP * _GAPS["ring" if is_ringed else "point"]
    return f"{gap}{label}{gap}"


def _label_traces(data: FrontData, by_trial: pd.DataFrame) -> list[go.Scatter]:
    """Texts beside the named trials, where the front has no points; a ring round one."""
    traces = []
    named, corners = _placed_labels(data, by_trial)
    if len(named):
        traces.append(
            go.Scatter(
                x=named[data.x].tolist(),
                y=named[data.y].tolist(),
                customdata=named.index.tolist(),
                mode="text",
                text=[_apart(data.labels[int(trial)], trial == data.recommended) for trial in named.index],
                textposition=corners,
                textfont={"size": 12},
                hoverinfo="skip",
                cliponaxis=False,
                showlegend=False,
                meta={"role": "labels"},
            )
        )
    if data.recommended is not None:
        ringed = by_trial.loc[data.recommended]
        traces.append(
            go.Scatter(
                x=[ringed[data.x]],
                y=[ringed[data.y]],
                customdata=[data.recommended],
                mode="markers",
                marker={"symbol": "circle-open", "size": 19, "color": style.NEUTRAL, "line": {"width": 2.5}},
                hoverinfo="skip",
                showlegend=False,
                meta={"role": "ring"},
            )
        )
    return traces


def _placed_labels(data: FrontData, by_trial: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The named trials whose labels find room, and the corners where they stand; the recommended one always does."""
    named = by_trial.loc[list(data.labels)].sort_values(
        [data.y, data.x], ascending=data.directions[1] == "minimize"
    )
    named = named.loc[sorted(named.index, key=lambda trial: trial != data.recommended)]
    low, high = np.transpose(_ranges(data))
    corners = place_labels(
        (named[[data.x, data.y]].to_numpy(float) - low) / (high - low),
        [data.labels[int(trial)] for trial in named.index],
        ("right", "left") if data.directions[0] == "maximize" else ("left", "right"),
        ("top", "bottom") if data.directions[1] == "maximize" else ("bottom", "top"),
    )
    fits = [corner is not None for corner in corners]
    return named[fits], [corner for corner in corners if corner is not None]


def _joined(data: FrontData, name: str, front: pd.DataFrame) -> pd.DataFrame:
    """The trials of a front with the points of front trials, those of them that are not dominated, by ``x``."""
    architecture = data.points.set_index("trial")["architecture"]
    lines = [
        line
        for trial, line in data.continuous.items()
        if len(data.fronts) == 1 or architecture[trial] == name
    ]
    every = pd.concat([front, *lines])[[data.x, data.y]].astype(float)
    every = every[pareto.non_dominated(every.to_numpy(), data.directions)]
    return every.sort_values([data.x, data.y])


def _interval_traces(data: FrontData, colours: dict[str, str]) -> list[go.Scatter]:
    """Thin crosses behind the markers of the front, one trace an architecture. A bar that the chart does not hold is left
    out: of few patients they would be lines from edge to edge."""
    ranges = _ranges(data)
    if data.alpha is not None:
        colours = dict.fromkeys(colours, style.NEUTRAL)
    front = data.points[data.points["on_front"] & data.points["x_low"].notna()]
    return [
        go.Scatter(
            x=group[data.x].tolist(),
            y=group[data.y].tolist(),
            customdata=group["trial"].tolist(),
            mode="markers",
            marker={"size": 1, "color": colours[str(architecture)]},
            error_x=_error_bar(group, data.x, "x", ranges[0], colours[str(architecture)]),
            error_y=_error_bar(group, data.y, "y", ranges[1], colours[str(architecture)]),
            hoverinfo="skip",
            showlegend=False,
            meta={"role": "interval"},
        )
        for architecture, group in front.groupby("architecture")
    ]


def _error_bar(
    group: pd.DataFrame, metric: str, axis: str, chart: tuple[float, float], colour: str
) -> dict[str, Any]:
    low, high = group[f"{axis}_low"], group[f"{axis}_high"]
    fits = (low >= chart[0]) & (high <= chart[1])
    return {
        "type": "data",
        "symmetric": False,
        "array": (high - group[metric]).clip(lower=0).where(fits, 0.0).tolist(),
        "arrayminus": (group[metric] - low).clip(lower=0).where(fits, 0.0).tolist(),
        "color": colour,
        "thickness": 1,
        "width": 0,
    }
