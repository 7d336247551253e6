"""A report that follows a running study."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from analysis.report import write_report
from analysis.results_table import load
from analysis.study_folder import StudyFolder, require_folder
from taskct_core.errors import DataError
from taskct_core.schema import RESULTS_FILE, RUNNING, STATUS


def watch_report(
    folder: str | Path,
    interval_seconds: float = 30.0,
    out: str | Path | None = None,
    on_report: Callable[[Path], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
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
    require_folder(folder)
    path, seen, failed = None, None, False
    while not should_stop():
        state = _state(folder)
        if state is not None and state != seen:
            try:
                finished = _finished(folder)  # before the report, which then shows the end
                path = write_report(folder, out, None if finished else interval_seconds)
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


def _state(folder: str | Path) -> object:
    """What changes when the results do, None while there are none."""
    try:
        files = StudyFolder(folder)
    except DataError:
        return None
    info = files.files.info(f"{files.root}/{RESULTS_FILE}")
    return info.get("mtime") or info.get("LastModified") or info.get("etag"), info.get("size")


def _finished(folder: str | Path) -> bool:
    """Whether no trial runs. Between two trials that is so for a moment; the planned number decides then."""
    table = load(folder)
    planned = ((table.study.get("config") or {}).get("study") or {}).get("trials")
    if (table.trials[STATUS] == RUNNING).any():
        return False
    return planned is None or len(table.trials) >= int(planned)
