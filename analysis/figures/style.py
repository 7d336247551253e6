"""One visual language: colour says architecture, marker says method, everywhere.

Colours are those of Okabe & Ito (2008), "Color Universal Design", without yellow and black, which
vanish on white or on dark paper. Filled markers are complete trials, open ones are not (yet).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale
from analysis.metric_info import metric_info
from taskct_core.modes import MODES
from taskct_core.schema import REFERENCES, Direction

OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
}
# For the seventh architecture and later: from Paul Tol's "muted" scheme (Colour Schemes, SRON 2021).
TOL_MUTED = ("#332288", "#117733", "#882255", "#999933", "#AA4499")
# From the twelfth on: the colours of visible lightness that lie furthest (CIEDE2000, 18 and more) from all
# before them. So many hues are not safe for the colour-blind; the page says so and names trials on hover.
FURTHER = (
    "#665533", "#11DD00", "#EEBBAA", "#EE0044", "#9988FF", "#006666", "#AACCAA",
    "#00CCCC", "#6644FF", "#993311", "#FF00FF", "#996666", "#AA8866",
)  # fmt: skip
PALETTE = (*OKABE_ITO.values(), *TOL_MUTED, *FURTHER)
SAFE_COLOURS = len(OKABE_ITO) + len(TOL_MUTED)
# Alpha: from image quality (blue) to the task (orange); every step is told apart on white and on near-black paper, and
# by the colour-blind, for lightness rises with it.
ALPHA_COLOURS = ("#3D56C5", "#7B54C9", "#B9549F", "#E0637A", "#F09A3E")
NEUTRAL = "#7A7F87"  # references, guides; legible on white and on near-black
BAND_OPACITY = 0.16
LABEL_BACKGROUND = "rgba(255,255,255,0.8)"  # behind texts that lines cross; the page adapts it when dark

# Plotly's markers of training modes, in their order, as SVG paths in a box from -10 to 10.
MARKER_PATHS = {
    "square": "M-6,-6H6V6H-6Z",
    "circle": "M-6.5,0A6.5,6.5 0 1,0 6.5,0A6.5,6.5 0 1,0 -6.5,0Z",
    "diamond": "M0,-8.5L8.5,0L0,8.5L-8.5,0Z",
    "triangle-up": "M0,-8L8,6H-8Z",
    "cross": "M-3,-8H3V-3H8V3H3V8H-3V3H-8V-3H-3Z",
    "star": "M0,-9L2.6,-3L9,-2.8L4,1.5L5.6,8L0,4.2L-5.6,8L-4,1.5L-9,-2.8L-2.6,-3Z",
    "triangle-down": "M0,8L8,-6H-8Z",
    "pentagon": "M0,-8L7.6,-2.5L4.7,6.5H-4.7L-7.6,-2.5Z",
    "hexagon": "M-7,-4L0,-8L7,-4V4L0,8L-7,4Z",
}
METHOD_MARKERS = dict(zip(MODES, itertools.cycle(MARKER_PATHS), strict=False))
REFERENCE_MARKERS = dict(
    zip(REFERENCES, ("star-triangle-up-open", "x-thin-open", "hash-open", "asterisk-open"), strict=True)
)
_TEXT, _GRID = "#22262B", "#DDE1E6"
FONT = "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"


def architecture_colours(architectures: Iterable[str]) -> dict[str, str]:
    """A colour for each architecture, the same for the same set; beyond ``PALETTE`` they repeat."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(sorted(set(architectures)))}


def colours_of(frame: pd.DataFrame) -> dict[str, str]:
    """Architecture -> colour of a frame that has both as columns, one colour for each architecture."""
    return dict(zip(frame["architecture"].astype(str), frame["colour"], strict=True))


def metric_label(metric: str, direction: Direction = "maximize") -> str:
    """The metric's name with its unit, as an axis title, which says where less is better.

    Args:
        metric: the platform's, or an own objective.
        direction: of an own objective, which its study knows.
    """
    known = metric_info(metric, direction)
    name = f"{known.label} [{known.unit}]" if known.unit else known.label
    return f"{name}, less is better" if known.direction == "minimize" else name


def short_label(metric: str) -> str:
    """The same without the policy in brackets, where room is short and the chart says which it is."""
    known = metric_info(metric)
    name = known.label.split(" (")[0]
    return f"{name} [{known.unit}]" if known.unit else name


def figure(*, x: str, y: str, height: int = 420) -> go.Figure:
    """An empty chart in the common style."""
    return go.Figure(layout=layout(x=x, y=y, height=height))


def scale_axis(figure: go.Figure, scale: AxisScale | None) -> None:
    """Write the values of a scale along the horizontal axis, on which positions are drawn."""
    if scale is not None and scale.kind != "linear":
        positions, texts = zip(*scale.ticks(), strict=True)
        figure.update_xaxes(tickvals=positions, ticktext=texts)
        figure.update_layout(meta={"x_scale": vars(scale)})  # for the table beside the chart


def alpha_ramp(steps: int) -> list[str]:
    """``ALPHA_COLOURS`` as so many colours in even steps."""
    levels = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ALPHA_COLOURS]
    places = np.linspace(0, len(levels) - 1, steps)
    channels = [np.interp(places, range(len(levels)), [level[k] for level in levels]) for k in range(3)]
    return [
        "#" + "".join(f"{round(value):02x}" for value in colour) for colour in zip(*channels, strict=True)
    ]


def alpha_axis(scale: AxisScale) -> dict[str, Any]:
    """The colour axis of markers that are coloured by the position of their alpha, with its bar above the chart."""
    ticks = scale.ticks()
    low, high = ticks[0][0], ticks[-1][0]
    return {
        "colorscale": [[k / (len(ALPHA_COLOURS) - 1), colour] for k, colour in enumerate(ALPHA_COLOURS)],
        "cmin": min(low, *scale.positions([scale.low])),
        "cmax": max(high, *scale.positions([scale.high])),
        "colorbar": {
            "orientation": "h",
            "title": {"text": "alpha", "side": "right"},
            "tickvals": [at for at, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "thickness": 8,
            "len": 0.7,
            "x": 0,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "outlinewidth": 0,
            "ticks": "",
            "tickfont": {"size": 11},
        },
    }


def add_level(figure: go.Figure, y: float, name: str, place: int = 0) -> None:
    """A dashed horizontal line across the chart with its name at the right end, or ``place`` names before it."""
    line = {"color": NEUTRAL, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", xref="x domain", x0=0, x1=1, y0=y, y1=y, line=line)
    figure.add_annotation(
        text=name,
        xref="x domain",
        x=1 - 0.16 * (place % 6),
        y=y,
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"color": NEUTRAL, "size": 11},
    )


def broken_lines(frame: pd.DataFrame, by: str, columns: list[str]) -> list[list[Any]]:
    """The columns as lists with a None after each group of ``by``, so that one trace draws many lines."""
    lists: list[list[Any]] = [[] for _ in columns]
    for _, group in frame.groupby(by, sort=True):
        for values, column in zip(lists, columns, strict=True):
            values += [*group[column].tolist(), None]
    return lists


def layout(*, x: str, y: str, height: int) -> go.Layout:
    """The look that all figures share; ``x`` and ``y`` title the axes, ``height`` is in pixels."""
    axis: dict[str, Any] = {
        "gridcolor": _GRID,
        "zeroline": False,
        "linecolor": _GRID,
        "ticks": "outside",
        "tickcolor": _GRID,
        "automargin": True,
    }
    title_gap = {"standoff": 8, "font": {"size": 13}}
    return go.Layout(
        template="none",
        height=height,
        font={"family": FONT, "size": 13, "color": _TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 56, "r": 16, "t": 28, "b": 60},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}},
        hoverlabel={"align": "left", "font": {"family": FONT, "size": 12}},
        hovermode="closest",
        xaxis={**axis, "title": {"text": x, **title_gap}},
        yaxis={**axis, "title": {"text": y, **title_gap}},
    )
