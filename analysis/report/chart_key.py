"""The key that the charts share: colours of architectures, markers of methods."""

from __future__ import annotations

from typing import Any

from analysis.figures.points import study_colours
from analysis.figures.style import MARKER_PATHS, METHOD_MARKERS, PALETTE, SAFE_COLOURS
from analysis.names import method_name
from analysis.results_table import ResultsTable
from taskct_core import schema as S


def trial_key(table: ResultsTable) -> dict[str, Any]:
    """The charts' common key: architecture -> colour, method -> SVG path of its marker, a note or none."""
    colours = study_colours(table)
    methods = [name for name in METHOD_MARKERS if (table.trials[S.METHOD] == name).any()]
    return {
        "colours": colours,
        "note": _colour_note(len(colours)),
        "markers": {method_name(name): MARKER_PATHS[METHOD_MARKERS[name]] for name in methods},
    }


def _colour_note(count: int) -> str:
    if count > len(PALETTE):
        return f"{count} architectures: after {len(PALETTE)} colours repeat. Hover names the trial; filters single out."
    if count > SAFE_COLOURS:
        return f"More than {SAFE_COLOURS} colours are hard to tell apart: hover names the trial, filters single out."
    return ""
