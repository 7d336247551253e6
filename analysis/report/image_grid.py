"""The image section: what each method makes of a slice, with masks and error maps below the images."""

from __future__ import annotations

from typing import Any

from analysis import panels
from analysis.figures.image_panels import Cell, compute_image_panels
from analysis.results_table import ResultsTable
from analysis.unavailable import attempt
from taskct_core.hounsfield import LIVER_WINDOW_HU


def image_grid(table: ResultsTable) -> dict[str, Any]:
    """``{"rows": [{"caption", "cells"}]}`` (a cell for each source), or ``{"reason"}``."""
    found = attempt(compute_image_panels, table)
    if found.missing is not None:
        return {"reason": found.missing.reason}
    rows = [
        {"caption": caption, "cells": [_shown(cell) for cell in cells]}
        for caption, cells in found.needed.rows.items()
    ]
    return {"rows": rows, "window": LIVER_WINDOW_HU, "error_hu": panels.ERROR_HU}


def _shown(cell: Cell) -> dict[str, Any]:
    pictures = {"image": cell.image, "mask": cell.mask, "error": cell.error}
    uris = {name: None if picture is None else panels.data_uri(picture) for name, picture in pictures.items()}
    return {"title": cell.title, "why": cell.why, "trial": cell.trial, "scores": cell.scores, **uris}
