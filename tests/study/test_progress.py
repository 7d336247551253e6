"""What long commands show while they work."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from study.monitor import progress


def test_work_of_unknown_length_is_told_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, width=80))
    with progress.busy("Writing the report"):
        assert out.getvalue() == "Writing the report ...\n"


def test_on_a_terminal_it_is_a_bar_that_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, width=80, force_terminal=True))
    with progress.busy("Writing the report"):
        assert "Writing the report ..." in out.getvalue() and "0:00:00" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")  # the line is cleared
