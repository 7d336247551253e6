"""Whole studies on Ray with the lookup-table trainable: faults, workers, pruning, interruption."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from lookup_trainable import (
    die_once,
    fill_disk,
    hang,
    lookup_trainable,
    raise_always,
    raise_once,
    report_instead,
    row_at,
)
from own_plugins import WORST_PSNR
from ray.tune.experiment import Trial
from studies import EPOCHS, plan, run_here, study_config, table

from analysis import write_report
from study.config import ExperimentConfig, trust_of
from study.experiment.change import change_settings, pause_trials, resume_trials
from study.experiment.experiment import Experiment
from study.experiment.search import run_experiment_study
from study.run import StudySummary, run_study
from study.scoring.evaluate import evaluate_study
from study.search.events import EpochReported, Event, TrialErrored, TrialFinished, TrialPaused, TrialStarted
from study.search.tune import TuneExecutor
from study.trials import epoch_log
from study.trials.preemption import PREEMPTED
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, DataError, TrainingError
from taskct_core.schema import COMPLETE, FAIL, PRIMARY_DICE, PRIMARY_PSNR, PRUNED, RUNNING

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def run(
    folder: Path, trainable: Any = None, workers: int = 1, **settings: Any
) -> tuple[StudySummary, list[Event]]:
    events: list[Event] = []
    executor = TuneExecutor(trainable or lookup_trainable(EPOCHS), {"cpu": 1}, max_concurrent=workers)
    return run_study(plan(study_config(**settings), folder), executor, events.append), events


def test_tune_holds_no_trial_that_has_ended(tmp_path: Path) -> None:
    held: list[Trial] = []

    def count(event: Event) -> None:
        if isinstance(event, TrialStarted) and event.trial == 5:
            gc.collect()
            held.extend(kept for kept in gc.get_objects() if isinstance(kept, Trial))

    executor = TuneExecutor(lookup_trainable(1), {"cpu": 1})
    run_study(plan(study_config(trials=7), tmp_path, epochs=1), executor, count)
    # One that runs would be all; the one that ended last is dropped with the next.
    assert 1 <= len(held) <= 2


@pytest.mark.slow  # kills workers
def test_every_fault_has_its_outcome_and_the_study_goes_on(tmp_path: Path) -> None:
    unreadable = DataError("a shard must be readable", "shard-00000.parquet", "Simulate it again.")
    diverged = TrainingError("the loss must stay finite", "nan at step 3", "Lower the learning rate.")
    faults = {
        0: raise_once(at_epoch=3),
        1: raise_always(ValueError("no such loss"), at_epoch=2),
        2: raise_always(unreadable),
        3: die_once(at_epoch=2),
        4: report_instead({PRIMARY_DICE: float("nan")}, at_epoch=EPOCHS),
        5: report_instead({PRIMARY_PSNR: float("nan")}, at_epoch=1),
        7: raise_always(diverged, at_epoch=2),
        8: raise_always(ConfigError("a loss must be known", "mes", "Correct it.")),
        9: fill_disk(at_epoch=2),
    }
    summary, events = run(tmp_path, lookup_trainable(EPOCHS, faults=faults), trials=11, max_retries=1)
    records = summary.trials
    assert [r.status for r in records[:7]] == [COMPLETE, FAIL, FAIL, COMPLETE, FAIL, COMPLETE, COMPLETE]
    assert [r.retries for r in records[:7]] == [1, 1, 1, 1, 0, 0, 0]
    # What would fail again is not tried again.
    assert [(r.status, r.retries) for r in records[7:]] == [(FAIL, 0), (FAIL, 0), (FAIL, 1), (COMPLETE, 0)]
    assert records[7].reason == str(diverged) and records[7].last_epoch == 1
    assert "No space left on device" in str(records[9].reason)
    assert records[1].reason == "ValueError: no such loss"
    assert records[2].reason == str(unreadable)
    assert records[4].reason == f"{PRIMARY_DICE} is nan at epoch {EPOCHS}"
    assert not summary.interrupted
    # What a retried trial reports is what it would have reported.
    for record in (records[0], records[3], records[6]):
        expected = [row_at(record.values, epoch) for epoch in range(1, EPOCHS + 1)]
        assert epoch_log.read(StudyFolder(tmp_path).trial(record.trial)) == expected
        assert record.objectives == {name: expected[-1][name] for name in (PRIMARY_DICE, PRIMARY_PSNR)}
    died = [event.reason for event in events if isinstance(event, TrialErrored) and event.trial == 3]
    assert len(died) == 1 and "process died" in died[0]


def test_ray_ends_with_the_table_that_plain_python_does(tmp_path: Path) -> None:
    pruner = {"name": "pareto_asha", "reduction_factor": 2}
    expected = run_here(study_config(trials=8, pruner=pruner), tmp_path / "plain")
    summary, events = run(tmp_path / "ray", trials=8, pruner=pruner)
    assert table(summary.trials) == table(expected.trials)
    assert {record.status for record in summary.trials} == {COMPLETE, PRUNED}
    pruned = [record for record in summary.trials if record.status == PRUNED]
    assert all(record.reason and record.objectives and record.last_epoch < EPOCHS for record in pruned)
    assert [event.trial for event in events if isinstance(event, TrialStarted)] == list(range(8))
    assert sum(isinstance(event, TrialFinished) for event in events) == 8
    reported = [event for event in events if isinstance(event, EpochReported)]
    assert reported[0].row == row_at(summary.trials[0].values, 1)  # nothing of Tune's own
    # Older Rays kept what stopped trials had reserved, unless their dashboard ran.
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
        time.sleep(0.2)  # told to the driver some moments after
    assert ray.available_resources()["CPU"] == 2
    assert {group["state"] for group in ray.util.placement_group_table().values()} == {"REMOVED"}


def test_trials_have_the_priority_of_the_command_that_runs_them() -> None:
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)


def test_two_workers_run_every_trial_once(tmp_path: Path) -> None:
    summary, events = run(tmp_path, workers=2, trials=8)
    assert [record.status for record in summary.trials] == [COMPLETE] * 8
    assert sorted(event.trial for event in events if isinstance(event, TrialStarted)) == list(range(8))
    for record in summary.trials:
        assert len(epoch_log.read(StudyFolder(tmp_path).trial(record.trial))) == EPOCHS


def test_an_interrupt_leaves_trials_to_be_continued(tmp_path: Path) -> None:
    slow = lookup_trainable(EPOCHS, seconds_per_epoch=0.5)
    log = StudyFolder(tmp_path).trial(1).epoch_log
    stopper = threading.Thread(target=_interrupt_when, args=(log,), daemon=True)
    stopper.start()
    summary, _ = run(tmp_path, slow, trials=3)
    assert summary.interrupted
    assert [record.status for record in summary.trials] == [COMPLETE, RUNNING]
    continued, events = run(tmp_path, trials=3)
    assert [event.adopted for event in events if isinstance(event, TrialStarted)] == [True, False]
    assert table(continued.trials) == table(run_here(study_config(trials=3), tmp_path / "plain").trials)


@pytest.mark.slow  # kills workers
def test_a_trial_that_hangs_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    faults = {0: hang(at_epoch=2)}
    summary, _ = run(tmp_path, lookup_trainable(EPOCHS, faults=faults), trials=2, trial_timeout=5.0)
    assert [(r.status, r.retries) for r in summary.trials] == [(FAIL, 0), (COMPLETE, 0)]
    assert "study.trial_timeout = 5 s" in str(summary.trials[0].reason) and summary.trials[0].last_epoch == 1


def test_a_study_stops_when_its_time_is_up_and_goes_on_later(tmp_path: Path) -> None:
    slow = lookup_trainable(EPOCHS, seconds_per_epoch=1.0)
    summary, _ = run(tmp_path, slow, trials=3, timeout=8.0)
    assert summary.timed_out and summary.interrupted
    assert summary.trials and len([r for r in summary.trials if r.status == COMPLETE]) < 3
    continued, _ = run(tmp_path, trials=3)
    assert not continued.interrupted
    assert table(continued.trials) == table(run_here(study_config(trials=3), tmp_path / "plain").trials)


def test_retries_are_counted_over_all_drivers(tmp_path: Path) -> None:
    slow = lookup_trainable(
        EPOCHS, seconds_per_epoch=0.3, faults={0: raise_always(ValueError("still broken"), at_epoch=3)}
    )
    errors: list[TrialErrored] = []
    for _ in range(2):

        def stop(event: Event) -> None:
            if isinstance(event, TrialErrored):
                errors.append(event)
                if len(errors) < 2:
                    os.kill(os.getpid(), signal.SIGINT)

        settings = study_config(trials=1, max_retries=2)
        summary = run_study(plan(settings, tmp_path), TuneExecutor(slow, {"cpu": 1}), stop)
    assert [(record.status, record.retries) for record in summary.trials] == [(FAIL, 2)]
    assert len(errors) == 3


def _interrupt_when(path: Path) -> None:
    while not path.exists():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_ray_follows_what_commands_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trial at a time becomes two; the first is paused after an epoch, and resumed when another has ended."""
    monkeypatch.setattr("study.search.control._SECONDS_BETWEEN_LOOKS", 0.0)
    running, most, resumed = set[int](), 0, list[int]()

    def steer(event: Event) -> None:
        nonlocal most
        match event:
            case TrialStarted(trial=trial):
                running.add(trial)
                most = max(most, len(running))
            case EpochReported(trial=0) if not resumed and event.row["epoch"] == 1:
                assert most == 1
                pause_trials(tmp_path, [0])
                change_settings(tmp_path, ["concurrent=2"])
            case TrialFinished(trial=trial) if not resumed:
                resume_trials(tmp_path, [0])
                resumed.append(trial)
        if isinstance(event, TrialFinished | TrialPaused):
            running.discard(event.trial)

    executor = TuneExecutor(lookup_trainable(EPOCHS, seconds_per_epoch=0.2), {"cpu": 1}, max_concurrent=1)
    summary = run_study(plan(study_config(trials=4), tmp_path), executor, steer)
    assert [record.status for record in summary.trials] == [COMPLETE] * 4
    assert resumed and resumed[0] != 0 and most == 2
    rows = [row_at(summary.trials[0].values, epoch) for epoch in range(1, EPOCHS + 1)]
    assert epoch_log.read(StudyFolder(tmp_path).trial(0)) == rows


def test_a_trial_moves_from_a_node_that_is_taken_away(tmp_path: Path) -> None:
    faults = {0: report_instead({PREEMPTED: 1.0}, at_epoch=2)}
    summary, events = run(tmp_path, lookup_trainable(EPOCHS, faults=faults), trials=2, max_retries=0)
    assert [(record.status, record.retries) for record in summary.trials] == [(COMPLETE, 0)] * 2
    begun = [(event.trial, event.adopted) for event in events if isinstance(event, TrialStarted)]
    assert begun == [(0, False), (0, True), (1, False)]


@pytest.mark.slow  # kills a worker
def test_a_killed_worker_continues_from_a_bucket(s3_bucket: str, tmp_path: Path) -> None:
    folder = open_folder(f"{s3_bucket}/killed")
    trainable = lookup_trainable(EPOCHS, faults={0: die_once(at_epoch=3)})
    summary, events = run(folder, trainable, trials=2, storage=f"sqlite:///{tmp_path}/study.db")
    assert [(r.status, r.retries) for r in summary.trials] == [(COMPLETE, 1), (COMPLETE, 0)]
    assert [event.trial for event in events if isinstance(event, TrialErrored)] == [0]
    assert len(epoch_log.read(StudyFolder(folder).trial(0))) == EPOCHS


@pytest.mark.slow  # a whole experiment: trials and references in processes of their own, scored again, a report
def test_a_study_of_an_own_trainable_and_objective(small, tmp_path: Path) -> None:
    values = small.experiment.model_dump()
    values["study"] |= {"objectives": [WORST_PSNR, PRIMARY_DICE], "trainable": "own_plugins:trainable"}
    values |= {"output": str(tmp_path), "execution": {"executor": "actor"}}
    experiment = ExperimentConfig.parse(
        values | {"dataset": str(small.workspace.dataset), "pretrained": str(small.workspace.task_network)}
    )
    opened = Experiment(experiment)
    workspace = opened.workspace
    summary = run_experiment_study(opened)
    assert [record.status for record in summary.trials] == [COMPLETE] * 2
    alphas = [record.values["alpha"] for record in summary.trials]
    assert [record.objectives[WORST_PSNR] for record in summary.trials] == [2 + alpha for alpha in alphas]
    results = pd.read_parquet(workspace.study / StudyFolder.results)
    trials = results[results[schema.TRIAL] >= 0]
    assert list(trials[f"{schema.CONFIG_PREFIX}alpha"]) == [alpha for alpha in alphas for _ in (1, 2)]
    assert set(trials[schema.SPLIT]) == {"validation"} and trials[schema.METHOD].notna().all()
    references = results[results[schema.TRIAL] < 0]
    assert references[WORST_PSNR].notna().all()
    with pytest.raises(ConfigError, match="--trust"):
        evaluate_study(workspace.study, trials=[])
    evaluated = evaluate_study(workspace.study, trials=[], trust=trust_of(experiment)).set_index(
        schema.METHOD
    )
    on_test = references[references[schema.SPLIT] == "test"].set_index(schema.METHOD)
    assert evaluated.loc["fbp", WORST_PSNR] == pytest.approx(on_test.loc["fbp", WORST_PSNR])
    assert "Worst psnr" in write_report(str(workspace.study)).read_text()
