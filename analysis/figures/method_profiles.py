"""The methods of the table in further scores: one panel a score, one line a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.basedatatypes import BasePlotlyType
from plotly.subplots import make_subplots

from analysis.figures import style
from analysis.method_scores import scores_with_intervals
from analysis.results_table import ResultsTable
from analysis.unavailable import NotApplicable

_LINE, _PANEL, _MARGINS = 20, 66, 80  # pixels of height


@dataclass(frozen=True)
class MethodProfileData:
    """Rows of metric, name, score, low, high; scores in the order that they are shown in.

    ``titles``: of panels that are of no metric of the platform.
    """

    split: str
    rows: pd.DataFrame
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(self.rows["metric"]))


def compute_method_profiles(table: ResultsTable, metrics: Sequence[str]) -> MethodProfileData:
    """Those of the scores that the study has, on the split of claims."""
    rows = scores_with_intervals(table, metrics)
    if rows.empty:
        raise NotApplicable("The study holds none of these scores.")
    return MethodProfileData(table.claim_split, rows)


def draw_method_profiles(data: MethodProfileData) -> go.Figure:
    """Panels below each other, with the methods in the table's order."""
    groups = [data.rows[data.rows["metric"] == metric] for metric in data.metrics]
    heights = [_PANEL + _LINE * len(group) for group in groups]
    figure = make_subplots(
        rows=len(groups),
        cols=1,
        row_heights=heights,
        vertical_spacing=_PANEL / (sum(heights) + _PANEL) if len(groups) > 1 else 0,
    )
    look = style.layout(x="", y="", height=sum(heights) + _MARGINS)
    figure.update_layout(look)
    for place, (metric, rows) in enumerate(zip(data.metrics, groups, strict=True), start=1):
        figure.add_trace(_markers(rows[::-1]), row=place, col=1)
        x, y = f"xaxis{place}", f"yaxis{place}"
        figure.layout[x] = _looks_like(
            look.xaxis, figure.layout[x], data.titles.get(metric) or style.metric_label(metric)
        )
        figure.layout[y] = _looks_like(look.yaxis, figure.layout[y], "") | {"type": "category"}
    return figure


def _looks_like(look: BasePlotlyType, axis: BasePlotlyType, title: str) -> dict[str, Any]:
    """An axis in its place with another's look: set at once, as Plotly takes its time over each single update."""
    shared = look.to_plotly_json()
    return shared | axis.to_plotly_json() | {"title": shared["title"] | {"text": title}}


def _markers(rows: pd.DataFrame) -> go.Scatter:
    width = {
        "array": (rows["high"] - rows["score"]).tolist(),
        "arrayminus": (rows["score"] - rows["low"]).tolist(),
    }
    return go.Scatter(
        x=rows["score"].tolist(),
        y=rows["name"].tolist(),
        error_x={"type": "data", "symmetric": False, **width, "thickness": 1.5, "color": style.NEUTRAL},
        mode="markers",
        marker={"size": 9, "color": style.NEUTRAL},
        text=[
            f"{low:.3g} to {high:.3g}" if low < high else "no interval"
            for low, high in zip(rows["low"], rows["high"], strict=True)
        ],
        hovertemplate="%{y}<br>%{x:.4g} (%{text})<extra></extra>",
        showlegend=False,
    )
