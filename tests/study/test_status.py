"""Status and console: read from the folder alone, while a study runs, after it died, and when it is done."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from studies import EPOCHS, Killed, run_here, study_config

from analysis.pareto import hypervolume
from study.monitor.console import study_console
from study.monitor.score_line import score_line
from study.monitor.status import StatusReader, StudyStatus, study_status
from study.monitor.status_view import draw_status
from study.search.events import EpochReported, Event, TrialStarted
from study.search.lock import study_lock
from study.search.storage.opening import open_study
from taskct_core.contracts.folders import Folder, StudyFolder
from taskct_core.errors import StudyError
from taskct_core.schema import COMPLETE, PRIMARY_DICE, PRIMARY_PSNR, PRUNED, RUNNING

OBJECTIVES = [PRIMARY_DICE, PRIMARY_PSNR]


def die(folder: Path, trials: int, runs: int | None = None) -> None:
    """Leave the folder as a driver does that is killed while its last trial runs, of ``runs`` runs if it is repeated."""

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == trials - 1:
            raise Killed

    with pytest.raises(Killed):
        run_here(study_config(trials=trials), folder, on_event=kill, runs=runs)


def text(status: StudyStatus) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160)
    console.print(draw_status(status))
    return out.getvalue()


def test_a_finished_study(tmp_path: Path) -> None:
    pruner = {"name": "pareto_asha", "reduction_factor": 2}
    summary = run_here(study_config(trials=8, pruner=pruner), tmp_path)
    status = study_status(tmp_path)
    assert status.state == "finished" and status.driver is None and status.seconds_left is None
    assert status.trials == 8 and sum(status.counts.values()) == 8 and status.counts[PRUNED] > 0
    assert status.front == summary.front and status.running == []
    assert status.directions == dict.fromkeys(OBJECTIVES, "maximize")
    points = [[r.objectives[name] for name in OBJECTIVES] for r in summary.trials if r.status == COMPLETE]
    low, high = ([pick(values) for values in zip(*points, strict=True)] for pick in (min, max))
    box = (high[0] - low[0]) * (high[1] - low[1])
    expected = hypervolume(points, low, ["maximize"] * 2) / box
    assert status.hypervolume_share == pytest.approx(expected)
    assert "8 of 8 trials ended" in text(status) and "finished" in text(status)


def test_a_study_that_died_shows_what_it_was_doing(tmp_path: Path) -> None:
    die(tmp_path, trials=4)
    status = study_status(tmp_path)
    assert status.state == "stopped"
    (running,) = status.running
    assert running.epoch >= 1 and PRIMARY_DICE in running.row
    assert status.counts[RUNNING] == 1
    shown = text(status)
    assert "run it again to continue" in shown and "alpha" in shown
    assert f"{running.epoch} of {EPOCHS}" in shown


def test_a_trial_that_is_repeated_tells_of_its_runs(tmp_path: Path) -> None:
    die(tmp_path, trials=2, runs=9)
    (running,) = study_status(tmp_path).running
    assert (running.step, running.epochs) == ("run", 9)
    assert f"{running.epoch} of 9" in text(study_status(tmp_path)) and "epoch" not in text(
        study_status(tmp_path)
    )
    out = io.StringIO()
    with study_console(tmp_path, OBJECTIVES, Console(file=out, width=200), step="run") as on_event:
        on_event(EpochReported(1, running.row))
    assert out.getvalue().startswith(f"trial 1  run {running.epoch}: Dice")


def test_a_driver_that_died_is_told_from_one_that_lives(tmp_path: Path) -> None:
    run_here(study_config(trials=2), tmp_path)
    study = open_study(tmp_path)
    study.ask()
    with study_lock(tmp_path):
        content = (tmp_path / Folder.lock).read_text()
        status = study_status(tmp_path)
        assert status.state == "running" and status.seconds_left is not None
        assert "left" in text(status)
    dead = json.loads(content) | {"host": "elsewhere", "boot": "another", "heartbeat": time.time() - 3600}
    (tmp_path / Folder.lock).write_text(json.dumps(dead))
    status = study_status(tmp_path)
    assert status.state == "stopped"
    assert "last sign of life 1:00:00 ago" in text(status)


def test_a_trial_without_progress_is_named(tmp_path: Path) -> None:
    die(tmp_path, trials=2)
    log = StudyFolder(tmp_path).trial(1).epoch_log
    with study_lock(tmp_path):
        assert not study_status(tmp_path).running[0].is_stalled
        long_ago = time.time() - 3600
        os.utime(log, (long_ago, long_ago))
        assert not study_status(tmp_path).running[0].is_stalled  # it was adopted just now
        trial = dataclasses.replace(study_status(tmp_path).running[0], idle_seconds=3600.0)
        assert trial.is_stalled and not dataclasses.replace(trial, epoch_seconds=1000.0).is_stalled
    status = dataclasses.replace(study_status(tmp_path), running=[trial])
    assert "trial 1 makes no progress: no epoch for 1:00:00" in text(status)


def test_the_limits_of_time_are_shown(tmp_path: Path) -> None:
    run_here(study_config(trials=1, timeout=7200, trial_timeout=1800), tmp_path)
    shown = text(study_status(tmp_path))
    assert "stops after 2:00:00" in shown and "a trial fails after 0:30:00" in shown


def test_a_reader_follows_a_study(tmp_path: Path) -> None:
    run_here(study_config(trials=2), tmp_path)
    reader = StatusReader(tmp_path)
    assert reader.read().counts == {COMPLETE: 2}
    run_here(study_config(trials=3), tmp_path)
    assert reader.read().counts == {COMPLETE: 3}


def test_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="taskct study run"):
        study_status(tmp_path)


def test_plain_lines_tell_each_epoch_once(tmp_path: Path) -> None:
    die(tmp_path, trials=3)
    out = io.StringIO()
    console = Console(file=out, width=80)
    with study_console(tmp_path, OBJECTIVES, console) as on_event:
        run_here(study_config(trials=3), tmp_path, on_event=on_event)
        run_here(study_config(trials=3), tmp_path, on_event=on_event)
    lines = out.getvalue().splitlines()
    assert any("continues: alpha" in line for line in lines)
    assert sum("epoch" in line for line in lines) == len(
        {line.split(":")[0] for line in lines if "epoch" in line}
    )
    assert lines[-1].startswith("trial 2  COMPLETE: Dice")


def test_a_terminal_shows_the_study_live(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=True)
    events: list[Event] = []
    with study_console(tmp_path / "study", OBJECTIVES, console) as on_event:
        run_here(
            study_config(trials=3), tmp_path / "study", on_event=lambda e: (on_event(e), events.append(e))
        )
    assert sum(isinstance(event, TrialStarted) for event in events) == 3
    shown = out.getvalue()
    assert "3 of 3 trials ended" in shown and "Front so far" in shown


def test_images_that_are_the_full_dose_ones_are_not_praised_for_it() -> None:
    row = {PRIMARY_DICE: 0.5, PRIMARY_PSNR: 31.25}
    assert score_line(row) == "Dice mean (patient, nnunet) 0.500, PSNR (lodopab) 31.250"
    assert score_line(row | {PRIMARY_PSNR: math.inf}) == "Dice mean (patient, nnunet) 0.500"
