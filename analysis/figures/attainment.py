"""The front over several seeds: the median attainment surface with its band, and those of the seeds."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.attainment import Attainment, attainment
from analysis.figures import style
from analysis.results_table import ResultsTable


@dataclass(frozen=True)
class AttainmentData:
    """The surfaces of a pair of scores."""

    x: str
    y: str
    found: Attainment


def compute_attainment(table: ResultsTable, x: str, y: str) -> AttainmentData:
    """Of the front's configurations with three and more seeds."""
    return AttainmentData(x, y, attainment(table, x, y))


def draw_attainment(data: AttainmentData) -> go.Figure:
    """The band, the median on it, and a thin line a seed."""
    found, blue = data.found, style.OKABE_ITO["blue"]
    figure = style.figure(x=style.metric_label(data.x), y=style.metric_label(data.y))
    x = found.x.tolist()
    for name, values, fill in (("low", found.low, None), ("95 % band", found.high, "tonexty")):
        figure.add_scatter(
            x=x,
            y=values.tolist(),
            mode="lines",
            line={"width": 0, "shape": "vh"},
            fill=fill,
            fillcolor=f"rgba(0,114,178,{style.BAND_OPACITY})",
            name=name,
            showlegend=fill is not None,
            hoverinfo="skip",
        )
    for number, surface in enumerate(found.of_seeds):
        figure.add_scatter(
            x=x,
            y=surface.tolist(),
            mode="lines",
            line={"color": style.NEUTRAL, "width": 1, "dash": "dot", "shape": "vh"},
            name="single seeds",
            showlegend=number == 0,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=x,
        y=found.median.tolist(),
        mode="lines",
        line={"color": blue, "width": 2.5, "shape": "vh"},
        name="median",
        hovertemplate="half of the seeds attain %{y:.4g} at %{x:.4g}<extra></extra>",
    )
    return figure
