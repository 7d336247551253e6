"""One self-contained HTML report of a study: ``write_report(folder) -> Path``."""

from __future__ import annotations

from pathlib import Path

from analysis.loading import load
from analysis.report.page import render_page
from analysis.whereabouts import without_whereabouts
from taskct_core.contracts.files import open_folder, write_text


def write_report(
    folder: str | Path,
    out: str | Path | None = None,
    reload_seconds: float | None = None,
    whereabouts: bool = False,
) -> Path:
    """Write the report of a study, finished or running, and return its path.

    Args:
        folder: the study folder (path or fsspec URL).
        out: the HTML file to write, local or remote; ``report.html`` in the study folder if not given.
        reload_seconds: how often the open page loads itself again, if somebody goes on writing it.
        whereabouts: tell hosts, users and absolute paths, too: a report is passed on, and they are nobody's business.

    Raises:
        DataError: if the folder holds no readable results of this schema version.
    """
    table = load(folder)
    path = table.folder.report if out is None else open_folder(out)
    shown = table if whereabouts else without_whereabouts(table)
    write_text(path, render_page(shown, reload_seconds))
    return path
