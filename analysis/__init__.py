"""Understanding it: results table, fronts, statistics, figures, report. No Ray, no torch.

    import analysis

    table = analysis.load("runs/quickstart")    # ResultsTable
    analysis.write_report("runs/quickstart")    # runs/quickstart/report.html

Names are imported when they are first used, so that ``import analysis`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.report import write_report
    from analysis.results_table import ResultsTable, load

_HOMES = {
    "ResultsTable": "analysis.results_table",
    "front_trials": "analysis.selection",
    "load": "analysis.results_table",
    "write_report": "analysis.report",
}
__all__ = ["ResultsTable", "load", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
