"""Three scores at once: Dice, PSNR and SSIM of every trial, the non-dominated ones emphasised."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis import pareto
from analysis.figures import style
from analysis.figures.points import trial_points
from analysis.results_table import SEARCH_SPLIT, ResultsTable, method_name
from analysis.unavailable import Unavailable
from taskct_core import schema as S

# Plotly draws fewer symbols in 3-D than in 2-D: the nearest of those.
_SYMBOLS_3D = {
    "triangle-up": "diamond-open",
    "star": "x",
    "triangle-down": "square-open",
    "pentagon": "circle-open",
    "hexagon": "circle-open",
}


@dataclass(frozen=True)
class Front3DData:
    """One row a complete trial (see ``trial_points``) with ``on_front``, by three metrics."""

    metrics: tuple[str, str, str]
    split: str
    points: pd.DataFrame


def compute_front_3d(
    table: ResultsTable,
    metrics: tuple[str, str, str] = (S.PRIMARY_PSNR, S.PRIMARY_SSIM, S.PRIMARY_DICE),
    split: str | None = None,
) -> Front3DData:
    """Complete trials by three metrics on validation (or the split named), and which of them are non-dominated."""
    split = split or SEARCH_SPLIT
    missing = [name for name in metrics if name not in table.metrics]
    if missing:
        raise Unavailable(f"The results hold no finite value of {' and '.join(missing)}.")
    points = trial_points(table, split, metrics)
    points = points[points["status"] == S.COMPLETE].reset_index(drop=True)
    if points.empty:
        raise Unavailable(f"No complete trial has all three scores on the {split} split yet.")
    directions = [table.direction(name) for name in metrics]
    front = pareto.non_dominated(points[list(metrics)].to_numpy(), directions)
    return Front3DData(metrics, split, points.assign(on_front=front))


def draw_front_3d(data: Front3DData) -> go.Figure:
    """Large markers are the front, small ones the rest. Needs WebGL in a browser."""
    colours = style.colours_of(data.points)
    figure = style.figure(x="", y="", height=560)
    for (architecture, method), group in data.points.groupby(["architecture", "method"]):
        symbol = style.METHOD_MARKERS.get(str(method), "circle")
        x, y, z = (group[name].tolist() for name in data.metrics)
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            customdata=group["trial"].tolist(),
            text=group["text"].tolist(),
            mode="markers",
            name=f"{architecture}, {method_name(str(method))}",
            marker={
                "symbol": _SYMBOLS_3D.get(symbol, symbol),
                "size": [9 if on_front else 5 for on_front in group["on_front"]],
                "color": colours[str(architecture)],
            },
            hovertemplate="%{text}<extra></extra>",
        )
    titles = [{"title": {"text": style.short_label(name)}} for name in data.metrics]
    scene = dict(zip(("xaxis", "yaxis", "zaxis"), titles, strict=True))
    # From the side: PSNR and SSIM often rise together, and along their diagonal a front looks like a post.
    camera = {"eye": {"x": 1.9, "y": -1.5, "z": 0.7}}
    figure.update_layout(scene={**scene, "camera": camera}, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure
