"""Several studies in one chart: their fronts, and how scores change with dose.

Here colour means the study, not the architecture; the charts show fronts and chosen trials only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures import style
from analysis.figures.front_data import FrontData, compute_chosen_front
from analysis.figures.over_dose import write_doses
from analysis.several_studies import StudyComparison
from analysis.unavailable import NotApplicable, Unavailable, attempt
from taskct_core import schema as S

# Which rows of the methods table stand for a role, and how the dose chart marks them.
_ROLES = {
    "full dose": ("Full dose", "star-triangle-up-open"),
    "best Dice": ("best Dice", "circle"),
    "no task loss": ("no task loss", "square"),
    "FBP": ("FBP", "x-thin-open"),
}


@dataclass(frozen=True)
class StudyFrontsData:
    """Each study's front data by name; ``shared`` where all may stand on one pair of axes."""

    x: str
    y: str
    fronts: dict[str, FrontData]
    shared: bool


def compute_study_fronts(comparison: StudyComparison, x: str, y: str) -> StudyFrontsData:
    """The front that validation chose in every study that has one, on its split of claims."""
    computed = {
        name: attempt(compute_chosen_front, table, x, y).result
        for name, table in zip(comparison.names, comparison.tables, strict=True)
    }
    fronts = {name: data for name, data in computed.items() if data is not None and data.fronts}
    if not fronts:
        raise Unavailable("None of the studies has a complete trial with both scores yet.")
    return StudyFrontsData(x, y, fronts, comparison.comparable)


def draw_study_fronts(data: StudyFrontsData) -> go.Figure:
    """One pair of axes where the studies are comparable, else a facet each with axes of its own."""
    rows = 1 if data.shared else len(data.fronts)
    figure = make_subplots(rows=rows, cols=1, subplot_titles=None if data.shared else list(data.fronts))
    base = style.layout(x="", y="", height=480 if data.shared else 80 + 340 * rows)
    figure.update_layout({k: v for k, v in base.to_plotly_json().items() if k not in ("xaxis", "yaxis")})
    figure.update_xaxes(base.xaxis, title={"text": style.metric_label(data.x)})
    figure.update_yaxes(base.yaxis, title={"text": style.metric_label(data.y)})
    colours = style.architecture_colours(data.fronts)
    for row, (name, front) in enumerate(data.fronts.items(), start=1):
        (trials,) = front.fronts.values()
        points = front.points.set_index("trial").loc[trials]
        trace = go.Scatter(
            x=points[data.x].tolist(),
            y=points[data.y].tolist(),
            text=points["text"].tolist(),
            mode="lines+markers",
            name=name,
            line={"color": colours[name], "width": 2, "dash": "dot"},
            marker={"size": 9, "symbol": list(style.MARKER_PATHS)[(row - 1) % len(style.MARKER_PATHS)]},
            hovertemplate="%{fullData.name}<br>%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
            showlegend=data.shared,
        )
        figure.add_trace(trace, row=1 if data.shared else row, col=1)
    return figure


@dataclass(frozen=True)
class DoseData:
    """Rows of role, photons_per_ray, score, low, high; sorted by dose."""

    metric: str
    rows: pd.DataFrame


def compute_dose(comparison: StudyComparison, metric: str) -> DoseData:
    """A metric of the references and chosen trials of every study against its dose."""
    known = {photons for photons in comparison.doses if photons is not None}
    if len(known) < 2:
        raise NotApplicable("The studies do not differ in a recorded dose.")
    methods = comparison.methods()
    if metric not in methods:
        raise Unavailable(f"The studies hold no finite value of {metric}.")
    blocks = []
    for role, (words, _) in _ROLES.items():
        found = methods[(methods["name"] == words) | methods["why"].str.contains(words, regex=False)]
        block = found[[S.PHOTONS_PER_RAY, metric, f"{metric}_low", f"{metric}_high"]].assign(role=role)
        blocks.append(block.set_axis([S.PHOTONS_PER_RAY, "score", "low", "high", "role"], axis=1))
    rows = pd.concat(blocks).replace([np.inf, -np.inf], np.nan).dropna(subset=[S.PHOTONS_PER_RAY, "score"])
    rows = rows.sort_values(S.PHOTONS_PER_RAY, ignore_index=True)
    return DoseData(metric, rows)


def draw_dose(data: DoseData) -> go.Figure:
    """A line a role over photons per ray, with 95 % intervals over patients."""
    figure = style.figure(x="photons per ray", y=style.metric_label(data.metric), height=420)
    for (role, (_, symbol)), colour in zip(_ROLES.items(), style.OKABE_ITO.values(), strict=False):
        rows = data.rows[data.rows["role"] == role]
        figure.add_scatter(
            x=rows[S.PHOTONS_PER_RAY].tolist(),
            y=rows["score"].tolist(),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (rows["high"] - rows["score"]).tolist(),
                "arrayminus": (rows["score"] - rows["low"]).tolist(),
                "thickness": 1,
                "width": 3,
            },
            mode="lines+markers",
            name=role,
            line={"color": style.NEUTRAL if role in ("full dose", "FBP") else colour, "width": 2},
            marker={"symbol": symbol, "size": 10},
            hovertemplate=f"{role}: %{{y:.4g}} at %{{x:.4g}} photons<extra></extra>",
        )
    write_doses(figure, sorted(set(data.rows[S.PHOTONS_PER_RAY])))
    return figure


STUDY_METRICS = (S.PRIMARY_DICE, S.PRIMARY_PSNR)
