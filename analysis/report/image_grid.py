"""The image section: full dose, FBP and the picked trials beside each other, with error maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import panels
from analysis.results_table import ResultsTable
from analysis.selection import baseline, picks
from analysis.unavailable import Unavailable
from taskct_core import schema as S
from taskct_core.errors import DataError

SLICES_SHOWN = 3


def image_grid(table: ResultsTable) -> dict[str, Any]:
    """``{"rows": [{"caption", "cells"}]}`` (a cell for each source), or ``{"reason"}``."""
    slices = panels.read_slices(table)
    if isinstance(slices, Unavailable):
        return {"reason": slices.reason}
    try:
        columns = _columns(table, slices)
    except DataError as error:
        return {"reason": f"{error.rule}; received {error.received}. {error.next_step}"}
    if not columns:
        return {"reason": "The study has stored no images of a reference or of a complete trial yet."}
    full_dose = next((panel for panel, _, _ in columns if panel.key == "full_dose"), None)
    rows = []
    for k in range(min(SLICES_SHOWN, len(slices.slices))):
        cells = [_cell(table, slices, k, column, full_dose) for column in columns]
        rows.append({"caption": slices.caption(k), "cells": cells})
    return {"rows": rows, "window": panels.WINDOW_HU, "error_hu": panels.ERROR_HU}


Column = tuple[panels.Panel, int | None, str]


def _columns(table: ResultsTable, slices: panels.PanelSlices) -> list[Column]:
    wanted: list[tuple[str, int | None, str]] = [
        (name, table.reference(name), why)
        for name, why in (("full_dose", "upper bound"), ("fbp", "lower bound"))
    ]
    chosen = picks(table)
    base = baseline(table)
    if base and base.trial not in [pick.trial for pick in chosen]:
        chosen = [base, *chosen]
    wanted += [(panels.panel_key(table, pick.trial), pick.trial, pick.why) for pick in chosen]
    read = [(panels.read_panel(table, key, slices), trial, why) for key, trial, why in wanted]
    return [(panel, trial, why) for panel, trial, why in read if panel is not None]


def _cell(
    table: ResultsTable, slices: panels.PanelSlices, k: int, column: Column, full_dose: panels.Panel | None
) -> dict[str, Any]:
    panel, trial, why = column
    error = None
    if full_dose is not None and panel is not full_dose:
        error = panels.data_uri(panels.draw_error(panel, full_dose, k))
    return {
        "title": panels.title(panel.key),
        "why": why,
        "trial": trial if trial is not None and trial >= 0 else None,
        "image": panels.data_uri(panels.draw_image(panel, k, slices.truth)),
        "error": error,
        "scores": _slice_scores(table, trial, slices.slices[k]),
    }


def _slice_scores(table: ResultsTable, trial: int | None, shown: dict[str, Any]) -> str:
    """PSNR and Dice of this slice, as far as ``samples.parquet`` holds them."""
    samples = table.samples
    keys = (S.SPLIT, S.PATIENT, S.SLICE_INDEX)
    found = samples[samples[S.TRIAL] == trial]
    for key in keys:
        found = found[found[key] == shown[key]]
    if found.empty:
        return ""
    row = found.iloc[0]
    parts = []
    if S.PRIMARY_PSNR in row and np.isfinite(row[S.PRIMARY_PSNR]):
        parts.append(f"PSNR {row[S.PRIMARY_PSNR]:.1f} dB")
    for structure in S.STRUCTURES:
        true, predicted, overlap = (
            row.get(f"{structure}_{part}_pixels", 0) for part in ("true", "predicted", "overlap")
        )
        if true + predicted > 0:
            parts.append(f"Dice {structure} {2 * overlap / (true + predicted):.2f}")
    return ", ".join(parts)
