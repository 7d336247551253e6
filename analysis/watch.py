"""A report that follows a running study."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from analysis.loading import load
from analysis.report import write_report
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import DataError
from taskct_core.schema import RUNNING, STATUS


def watch_report(
    folder: str | Path,
    interval_seconds: float = 30.0,
    out: str | Path | None = None,
    on_report: Callable[[Path], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    whereabouts: bool = False,
) -> Path | None:
    """Rewrite the report whenever the results change, until no trial runs or the caller stops it.

    The open page loads itself again at the same interval, until it is the last one. A study that has not
    written results yet is waited for. Results that cannot be read just now are tried again at the next
    turn; twice in a row is an error.

    Returns:
        The report's path, None if stopped before there was one.

    Raises:
        DataError: if there is no such folder, or the results stay unreadable.
    """
    study = StudyFolder.at(folder)
    if not study.path.is_dir():
        raise DataError("a study folder must exist", f"{study} (no such folder)", "Check the path.")
    path, seen, failed = None, None, False
    while not should_stop():
        state = _state(study)
        if state is not None and state != seen:
            try:
                finished = _finished(folder)  # before the report, which then shows the end
                path = write_report(folder, out, None if finished else interval_seconds, whereabouts)
                seen, failed = state, False
            except DataError:
                if failed:
                    raise
                failed = True
            else:
                if on_report is not None:
                    on_report(path)
                if finished:
                    return path
        time.sleep(interval_seconds)
    return path


def _state(study: StudyFolder) -> object:
    """What changes when the results do, None while there are none."""
    if not study.results.is_file():
        return None
    file = study.results.stat()
    return file.st_mtime, file.st_size


def _finished(folder: str | Path) -> bool:
    """Whether no trial runs. Between two trials that is so for a moment; the planned number decides then."""
    table = load(folder)
    planned = table.study.planned_trials
    return not (table.trials[STATUS] == RUNNING).any() and (planned is None or len(table.trials) >= planned)
