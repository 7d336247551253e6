"""What the page's slider over alpha shows: for each front trial its points, images and masks at every alpha.

Reads ``panels/trial-0003-front.npz``. Kept small: a few trials, one slice each.
"""

from __future__ import annotations

import math
from typing import Any

from analysis import panels
from analysis.continuous_fronts import Validity, continuous_fronts, validity
from analysis.metric_info import metric_info
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.unavailable import attempt
from taskct_core import schema as S
from taskct_core.contracts.tables import read_arrays
from taskct_core.errors import DataError

MOST_TRIALS = 4
X, Y = S.PRIMARY_PSNR, S.PRIMARY_DICE


def front_sliders(table: ResultsTable) -> list[dict[str, Any]]:
    """One entry a front trial, those of the largest hypervolume first; empty where there is none."""
    split = SEARCH_SPLIT  # an alpha may be chosen by what the slider says
    fronts = continuous_fronts(table, X, Y, split)
    chosen = sorted(fronts, key=lambda trial: (-_area(table, trial), trial))[:MOST_TRIALS]
    return [
        {
            "trial": trial,
            "title": f"{table.label(trial)} ({table.architecture(trial)})",
            "alphas": fronts[trial][S.ALPHA].tolist(),
            "x": fronts[trial][X].tolist(),
            "y": fronts[trial][Y].tolist(),
            "labels": [metric_info(Y).label, metric_info(X).label],
            "validity": validity_sentence(validity(table, trial, X, Y, split), split),
            **_pictures(table, trial, fronts[trial][S.ALPHA].tolist()),
        }
        for trial in chosen
    ]


def _area(table: ResultsTable, trial: int) -> float:
    points = table.front_points
    area = points.loc[points[S.TRIAL] == trial, S.HYPERVOLUME].max() if S.HYPERVOLUME in points else math.nan
    return -math.inf if math.isnan(area) else float(area)


def validity_sentence(found: Validity, split: str) -> str:
    """What a reader should know before believing a continuous front."""
    text = (
        f"On the {split} split {found.non_dominated:.0%} of its {found.points} points are dominated by no other of them, "
        f"and {found.monotone:.0%} of the steps to the next alpha gain Dice (or keep it) without gaining PSNR. "
    )
    if not found.compared:
        return (
            text + "No independent training of the same architecture at one of these alphas is in the study."
        )
    return text + (
        f"From independent trainings of the same architecture at {found.compared} of these alphas its points differ by "
        f"{found.y_distance:.3f} in Dice and {found.x_distance:.2f} dB in the mean."
    )


def _pictures(table: ResultsTable, trial: int, alphas: list[float]) -> dict[str, Any]:
    """The first shown slice at each alpha: caption, images, masks; without pictures where none fit."""
    nothing: dict[str, Any] = {"caption": "", "images": [], "masks": []}
    slices = attempt(panels.read_slices, table).result
    path = table.folder.front_panel(trial)
    if slices is None or not path.is_file():
        return nothing
    try:
        arrays = read_arrays(path)
    except DataError:
        return nothing
    if not {"alpha", "image", "prediction"} <= set(arrays) or arrays["alpha"].tolist() != alphas:
        return nothing
    shown = [
        panels.Panel(f"trial-{trial:04d}", image.astype("float32"), prediction)
        for image, prediction in zip(arrays["image"], arrays["prediction"], strict=True)
    ]
    return {
        "caption": slices.caption(0),
        "images": [
            panels.data_uri(panels.draw_image(panel, 0, slices.truth, slices.window)) for panel in shown
        ],
        "masks": [
            panels.data_uri(panels.draw_mask(panel, 0, panel.prediction[0], slices.window)) for panel in shown
        ],
    }
