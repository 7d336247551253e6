"""Running it: simulation jobs, trials and studies on Ray, and the command line.

As a library: ``from study import run_study, load_study, study_status``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.monitor.status import StudyStatus, study_status
    from study.run import StudyPlan, StudySummary, load_study, retry_failed, run_study
    from study.search.tune import TuneExecutor
    from study.trials.plugins import objective

__all__ = [
    "StudyPlan",
    "StudyStatus",
    "StudySummary",
    "TuneExecutor",
    "load_study",
    "objective",
    "retry_failed",
    "run_study",
    "study_status",
]

_MODULES = {
    "StudyPlan": "study.run",
    "StudyStatus": "study.monitor.status",
    "StudySummary": "study.run",
    "TuneExecutor": "study.search.tune",
    "load_study": "study.run",
    "objective": "study.trials.plugins",
    "retry_failed": "study.run",
    "run_study": "study.run",
    "study_status": "study.monitor.status",
}


def __getattr__(name: str) -> object:
    """Import on first use: Ray and Optuna take seconds, which the command line's help need not wait for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
