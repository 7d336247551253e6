"""One self-contained HTML report of a study: ``write_report(folder) -> Path``."""

from __future__ import annotations

from pathlib import Path

from analysis.loading import load
from analysis.report.page import render_page
from taskct_core.contracts.files import open_folder, write_text


def write_report(
    folder: str | Path, out: str | Path | None = None, reload_seconds: float | None = None
) -> Path:
    """Write the report of a study, finished or running, and return its path.

    Args:
        folder: the study folder (path or fsspec URL).
        out: the HTML file to write, local or remote; ``report.html`` in the study folder if not given.
        reload_seconds: how often the open page loads itself again, if somebody goes on writing it.

    Raises:
        DataError: if the folder holds no readable results of this schema version.
    """
    table = load(folder)
    path = table.folder.report if out is None else open_folder(out)
    write_text(path, render_page(table, reload_seconds))
    return path
