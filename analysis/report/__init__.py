"""One self-contained HTML report of a study: ``write_report(folder) -> Path``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from analysis.report.page import render_page
from analysis.results_table import ResultsTable, load
from taskct_core.errors import ConfigError
from taskct_core.schema import REPORT_FILE


def write_report(
    folder: str | Path, out: str | Path | None = None, reload_seconds: float | None = None
) -> Path:
    """Write the report of a study, finished or running, and return its path.

    Args:
        folder: the study folder (path or fsspec URL).
        out: the HTML file to write; ``report.html`` in the study folder if not given.
        reload_seconds: how often the open page loads itself again, if somebody goes on writing it.

    Raises:
        DataError: if the folder holds no readable results of this schema version.
        ConfigError: if the folder is not on this machine and ``out`` is not given.
    """
    table = load(folder)
    path = Path(out) if out is not None else _default_path(table)
    write_whole(path, render_page(table, reload_seconds))
    return path


def _default_path(table: ResultsTable) -> Path:
    if table.folder.local_path is None:
        raise ConfigError(
            "the report of a remote study needs a local file to be written to",
            f"{table.folder.location} and no output file",
            f"Name one, for example --out {REPORT_FILE}.",
        )
    return table.folder.local_path / REPORT_FILE


def write_whole(path: Path, text: str) -> None:
    """Replace the file in one step, so that a browser never reads half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as temporary:
        temporary.write(text)
    os.chmod(temporary.name, 0o644)
    os.replace(temporary.name, path)
