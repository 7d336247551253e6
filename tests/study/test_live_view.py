"""What others' viewers see of a study: the Optuna dashboard on its storage, TensorBoard on its curves."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from ports import free_ports
from rich.console import Console
from studies import EPOCHS, run_here, study_config

from study.monitor.console import LiveView
from study.run import StudySummary
from study.search.events import StudyOpened
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import PRIMARY_DICE, PRIMARY_PSNR

DASHBOARD = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
_STARTS_WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live") / "study"


@pytest.fixture(scope="module")
def summary(folder: Path) -> StudySummary:
    return run_here(study_config(trials=2), folder)


@pytest.fixture
def dashboard(folder: Path, summary: StudySummary) -> Iterator[str]:
    """The address of a dashboard on the study, as docs/live_view.md starts it."""
    (port,) = free_ports(1)
    command = [str(DASHBOARD), str(folder / StudyFolder.journal), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _fetched(address: str) -> Any:
    """The answer of a server that may still be starting."""
    end = time.monotonic() + _STARTS_WITHIN_SECONDS
    while True:
        try:
            with urlopen(address, timeout=10) as answer:
                return json.load(answer)
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _words(view: LiveView) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(view.draw())
    return console.export_text()


def test_a_live_view_says_finished_or_stopped_only_when_it_is_over(
    folder: Path, summary: StudySummary
) -> None:
    """A study that is extended has all of its old trials, and one that resumes has no driver yet."""
    view = LiveView(folder)
    assert "Opening" in _words(view) and "finished" not in _words(view)
    view.on_event(StudyOpened(folder))
    assert "finished" not in _words(view) and "stopped" not in _words(view) and "2 of 2" in _words(view)
    view.is_over = True
    assert "finished" in _words(view)


@pytest.mark.skipif(DASHBOARD is None, reason="needs optuna-dashboard")
def test_the_optuna_dashboard_shows_the_study_and_follows_it(
    dashboard: str, folder: Path, summary: StudySummary
) -> None:
    (shown,) = _fetched(f"{dashboard}/api/studies")["study_summaries"]
    assert shown["directions"] == ["maximize", "maximize"]
    trials = _fetched(f"{dashboard}/api/studies/{shown['study_id']}")["trials"]
    assert [trial["number"] for trial in trials] == [record.trial for record in summary.trials]
    for trial, record in zip(trials, summary.trials, strict=True):
        assert trial["state"] == "Complete"
        assert trial["values"] == [record.objectives[name] for name in (PRIMARY_DICE, PRIMARY_PSNR)]
        names = {parameter["name"] for parameter in trial["params"]}
        assert {"alpha", "learning_rate", "architecture"} <= names
    run_here(study_config(trials=3), folder)  # the dashboard stays open while the study goes on
    end = time.monotonic() + 30  # it keeps an answer for two seconds
    while len(trials) < 3 and time.monotonic() < end:
        time.sleep(0.2)
        trials = _fetched(f"{dashboard}/api/studies/{shown['study_id']}")["trials"]
    assert [trial["number"] for trial in trials] == [0, 1, 2]


def test_tensorboard_reads_every_trial_s_curves(folder: Path, summary: StudySummary) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for record in summary.trials:
        accumulator = reader.EventAccumulator(str(StudyFolder(folder).trial(record.trial)))
        accumulator.Reload()
        scalars = accumulator.Scalars(PRIMARY_DICE)
        logged = [row[PRIMARY_DICE] for row in epoch_log.read(StudyFolder(folder).trial(record.trial))]
        assert [event.step for event in scalars] == list(range(1, EPOCHS + 1))
        assert [event.value for event in scalars] == pytest.approx(logged)
        assert PRIMARY_PSNR in accumulator.Tags()["scalars"]


def test_every_trial_is_a_run_of_the_folder_that_the_docs_name(folder: Path, summary: StudySummary) -> None:
    multiplexer = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_multiplexer")
    runs = multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder / StudyFolder.trials))
    assert {f"{record.trial:04d}" for record in summary.trials} <= set(runs.Runs())
