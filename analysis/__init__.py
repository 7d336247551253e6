"""Understanding it: results table, fronts, statistics, figures, report. No Ray, no torch.

    import analysis

    table = analysis.load("runs/quickstart")    # ResultsTable
    analysis.write_report("runs/quickstart")    # runs/quickstart/report.html

Names are imported when they are first used, so that ``import analysis`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.console import methods_console
    from analysis.contestants import contestant
    from analysis.exports import export_figures, export_front_configs, export_tables
    from analysis.figures import FIGURES
    from analysis.importance import parameter_importance
    from analysis.loading import load
    from analysis.method_draws import gap_closed_interval
    from analysis.method_scores import methods_table
    from analysis.paired_differences import compare_methods
    from analysis.pareto import gap_closed, hypervolume, knee, non_dominated
    from analysis.report import write_report
    from analysis.report.several_studies import write_comparison
    from analysis.results_table import ResultsTable
    from analysis.sample_scores import intervals
    from analysis.search_history import hypervolume_history
    from analysis.selection import baseline, front_trials, picks
    from analysis.several_studies import StudyComparison, compare
    from analysis.statistics import holm, rank_correlation
    from analysis.summary import summarise
    from analysis.tables import front_table, trials_table
    from analysis.unavailable import Unavailable, attempt
    from analysis.watch import watch_report

_HOMES = {
    "FIGURES": "figures",
    "ResultsTable": "results_table",
    "StudyComparison": "several_studies",
    "Unavailable": "unavailable",
    "attempt": "unavailable",
    "baseline": "selection",
    "compare": "several_studies",
    "compare_methods": "paired_differences",
    "contestant": "contestants",
    "export_figures": "exports",
    "export_front_configs": "exports",
    "export_tables": "exports",
    "front_table": "tables",
    "front_trials": "selection",
    "gap_closed": "pareto",
    "gap_closed_interval": "method_draws",
    "holm": "statistics",
    "hypervolume": "pareto",
    "hypervolume_history": "search_history",
    "intervals": "sample_scores",
    "knee": "pareto",
    "load": "loading",
    "methods_console": "console",
    "methods_table": "method_scores",
    "non_dominated": "pareto",
    "parameter_importance": "importance",
    "picks": "selection",
    "rank_correlation": "statistics",
    "summarise": "summary",
    "trials_table": "tables",
    "watch_report": "watch",
    "write_comparison": "report.several_studies",
    "write_report": "report",
}
__all__ = [
    "FIGURES",
    "ResultsTable",
    "StudyComparison",
    "Unavailable",
    "attempt",
    "baseline",
    "compare",
    "compare_methods",
    "contestant",
    "export_figures",
    "export_front_configs",
    "export_tables",
    "front_table",
    "front_trials",
    "gap_closed",
    "gap_closed_interval",
    "holm",
    "hypervolume",
    "hypervolume_history",
    "intervals",
    "knee",
    "load",
    "methods_console",
    "methods_table",
    "non_dominated",
    "parameter_importance",
    "picks",
    "rank_correlation",
    "summarise",
    "trials_table",
    "watch_report",
    "write_comparison",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"analysis.{_HOMES[name]}"), name)
