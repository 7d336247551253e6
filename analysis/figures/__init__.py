"""Every figure of a report: ``FIGURES[name]`` knows how to compute its data and how to draw it.

A ``compute_x(table)`` returns plain data, or ``Unavailable`` with the reason in words; ``draw_x(data)``
returns a Plotly figure. Adding a figure is one file and one entry here; the report, the exports and the
conformance tests pick it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import plotly.graph_objects as go

from analysis.figures.alpha import compute_alpha_curve, draw_alpha_curve
from analysis.figures.front import compute_front, compute_fronts_by_architecture, draw_front
from analysis.figures.points import Unavailable
from analysis.results_table import ResultsTable
from taskct_core.schema import METRICS, PRIMARY_DICE, PRIMARY_PSNR, PRIMARY_SSIM

ALPHA_METRICS = (
    PRIMARY_DICE,
    PRIMARY_PSNR,
    PRIMARY_SSIM,
    "dice_liver_patient_nnunet",
    "dice_tumour_patient_nnunet",
    "psnr_window",
)


@dataclass(frozen=True)
class FigureSpec:
    """A figure's place in the report, its title, how to read it, and its two functions."""

    section: str
    title: str
    caption: str
    compute: Callable[[ResultsTable], Any]
    draw: Callable[[Any], go.Figure]


_FRONT_CAPTION = (
    "Each marker is a trial; the dotted line joins the trials that no other complete trial beats in both "
    "scores. Open markers are trials that are not complete. Up and to the right is better."
)
ALPHA_CAPTION = (
    "Grey dashes: references. Lines join configurations that differ only in alpha (mean over seeds, band "
    "from lowest to highest seed); where the search swept no such set, they are medians and quartiles of "
    "all trials in a range of alpha, over which the other parameters vary too."
)


def _front(x: str) -> FigureSpec:
    name = METRICS[x].label
    return FigureSpec(
        "trade-off",
        f"Dice against {name}",
        _FRONT_CAPTION,
        partial(compute_front, x=x, y=PRIMARY_DICE),
        draw_front,
    )


def _alpha(metric: str) -> FigureSpec:
    section = "alpha" if metric in ALPHA_METRICS else "alpha-more"
    return FigureSpec(
        section,
        METRICS[metric].label,
        METRICS[metric].policy,
        partial(compute_alpha_curve, metric=metric),
        draw_alpha_curve,
    )


FIGURES: dict[str, FigureSpec] = {
    "front_dice_psnr": _front(PRIMARY_PSNR),
    "front_dice_ssim": _front(PRIMARY_SSIM),
    "fronts_by_architecture": FigureSpec(
        "trade-off",
        "A front for each architecture",
        "The same scores with the non-dominated trials of each architecture joined by its own line.",
        partial(compute_fronts_by_architecture, x=PRIMARY_PSNR, y=PRIMARY_DICE),
        draw_front,
    ),
    **{f"alpha_{metric}": _alpha(metric) for metric in dict.fromkeys([*ALPHA_METRICS, *METRICS])},
}

__all__ = ["ALPHA_CAPTION", "FIGURES", "FigureSpec", "Unavailable"]
