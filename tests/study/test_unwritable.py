"""Outputs that cannot be written are found out before anything is computed, and nothing half written stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study.cli import main
from study.search.lock import study_lock
from taskct_core.contracts.files import check_writable, remove_partials, write_text, write_whole
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder that passes for a study's, and whose results would be an error if they were read."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / StudyFolder.results).write_text("no Parquet")
    return folder


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/full/x", "a file"])
@pytest.mark.parametrize("command", ["report", "compare", "export"])
def test_an_output_that_cannot_be_written_is_found_before_anything_is_read(
    command: str,
    place: str,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Places where not even root may write."""
    blocked = Path(place)
    if place == "a file":
        blocked = tmp_path / "file"
        blocked.touch()
    folders = [study, study] if command == "compare" else [study]
    out = blocked / ("out" if command == "export" else "out.html")
    monkeypatch.setattr("sys.argv", ["taskct", command, *map(str, folders), "--out", str(out)])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert caught.value.code == 2 and "Traceback" not in error
    assert "may be written" in error and "Parquet" not in error


def test_a_report_into_a_folder_is_told(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["taskct", "report", str(study), "--out", str(study)])
    with pytest.raises(SystemExit):
        main()
    assert "must not be a folder" in capsys.readouterr().err


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs" / "x")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError):
        check_writable(Path("/proc/nowhere"))


def _killed_while_writing(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from taskct_core.contracts.files import write_whole;"
        "write_whole(Path(sys.argv[1]), lambda t: (t.write_text('half'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)


def test_what_a_killed_process_left_half_written_is_removed_by_the_next_driver(tmp_path: Path) -> None:
    _killed_while_writing(tmp_path / "trials" / "0003" / "checkpoint.pt")
    _killed_while_writing(tmp_path / "study.json")
    assert len(list(tmp_path.rglob("*.partial"))) == 2
    with study_lock(tmp_path):
        assert not list(tmp_path.rglob("*.partial"))


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("whole")
        remove_partials(tmp_path)  # as a driver that starts meanwhile does

    write_whole(tmp_path / "report.html", write)
    assert (tmp_path / "report.html").read_text() == "whole"
    elsewhere = tmp_path / ".report.html.0123abcd-1.partial"  # of a host that shares the folder
    elsewhere.touch()
    older = tmp_path / f".x.{2**22 + 1}.partial"  # as an older version named it, of a process that is gone
    older.touch()
    remove_partials(tmp_path)
    assert elsewhere.exists() and not older.exists()
    write_text(tmp_path / "a", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == [elsewhere.name, "a", "report.html"]
