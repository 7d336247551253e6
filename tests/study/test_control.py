"""What commands change of a study: trials at a time, its pruner, single trials; running or not, and over restarts."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import pytest
from lookup_trainable import row_at
from searches import Search, StopAt
from studies import EPOCHS, Killed, run_here, study_config, table
from typer.testing import CliRunner

from study.cli.app import app
from study.experiment.change import change_settings, pause_trials, resume_trials
from study.experiment.rebuild import rebuild_study
from study.monitor.status import study_status
from study.search import control
from study.search.config import BudgetConfig, PrunerConfig
from study.search.control import Control, change_control, read_control
from study.search.events import EpochReported, Event, TrialPaused
from study.search.pruners.pruner import Pruner
from study.trials import epoch_log
from study.trials.preemption import PREEMPTED, telling_of_preemption
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError, StudyError, TaskctError
from taskct_core.schema import COMPLETE, EPOCH, PRUNED, RUNNING


def look(search: Search) -> None:
    """Time passes, after which a driver looks again."""
    search.now += 2.0


def test_the_number_of_concurrent_trials_changes_while_a_study_runs(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=9, max_concurrent=1)
    search.suggest()
    assert search.conductor.suggest() is None and not search.conductor.is_done
    change_settings(tmp_path, ["concurrent=3"])
    look(search)
    search.suggest(), search.suggest()
    assert search.conductor.suggest() is None
    change_settings(tmp_path, ["concurrent=2"])
    look(search)
    search.conductor.complete(0)
    assert search.conductor.suggest() is None  # two still run
    later = Search(tmp_path, trials=9, max_concurrent=1)
    later.suggest(), later.suggest()
    assert later.conductor.suggest() is None
    change_settings(tmp_path, ["concurrent=null"])
    assert read_control(tmp_path) == Control()


def test_a_new_pruner_judges_by_what_all_trials_have_reported(tmp_path: Path) -> None:
    made: list[StopAt] = []

    def make(config: PrunerConfig | None) -> Pruner:
        made.append(StopAt(1, 2))
        return made[-1]

    search = Search(tmp_path, make_pruner=make)
    first, second = search.suggest(), search.suggest()
    search.train(first)
    search.conductor.complete(first.trial)
    assert search.train(second, 1) and not made
    change_settings(tmp_path, ["pruner=median", "pruner.grace_epochs=2"])
    look(search)
    assert not search.train(second, 2)
    assert made[0].seen == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2)]
    Search(tmp_path, make_pruner=make)
    assert len(made) == 2  # a later driver begins with it


def test_a_study_continues_under_its_fingerprint_with_a_pruner_that_was_set(tmp_path: Path) -> None:
    config = study_config(trials=8)
    pruned = run_here(
        study_config(trials=8, pruner={"name": "pareto_asha", "reduction_factor": 2}), tmp_path / "a"
    )
    run_here(study_config(trials=1), tmp_path / "b")
    change_settings(tmp_path / "b", ["pruner={name: pareto_asha, reduction_factor: 2}"])
    summary = run_here(config, tmp_path / "b")
    assert table(summary.trials) == table(pruned.trials)
    assert PRUNED in {record.status for record in summary.trials}


def test_a_paused_trial_frees_its_place_and_goes_on_as_if_never_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_SECONDS_BETWEEN_LOOKS", 0.0)
    expected = table(run_here(study_config(trials=4), tmp_path / "whole").trials)
    folder, events = tmp_path / "paused", list[Event]()

    def pause(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochReported) and (event.trial, event.row["epoch"]) == (1, 2):
            change_control(folder, lambda known: known.model_copy(update={"paused": [1]}))

    summary = run_here(study_config(trials=4), folder, on_event=pause)
    assert [record.status for record in summary.trials] == [COMPLETE, RUNNING, COMPLETE, COMPLETE]
    assert summary.paused == [1] and summary.interrupted and TrialPaused(1) in events
    assert len(epoch_log.read(StudyFolder(folder).trial(1))) < EPOCHS
    (running,) = study_status(folder).running
    assert running.pause == "paused" and not running.is_stalled
    assert run_here(study_config(trials=4), folder).paused == [1]  # which runs nothing
    resume_trials(folder, [1])
    assert study_status(folder).running[0].pause == ""
    resumed = run_here(study_config(trials=4), folder)
    assert [row[:2] for row in table(resumed.trials)] == [row[:2] for row in expected]
    assert table(resumed.trials)[:2] == expected[:2]
    rows = [row_at(resumed.trials[1].values, epoch) for epoch in range(1, EPOCHS + 1)]
    assert epoch_log.read(StudyFolder(folder).trial(1)) == rows


def test_a_trial_resumed_while_others_run_is_the_next(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2)
    first, second = search.suggest(), search.suggest()
    search.train(first, 1)
    pause_trials(tmp_path, [0])
    look(search)
    assert not search.train(first, 2)
    search.conductor.complete(0)
    assert search.conductor.paused == [0] and search.conductor.suggest() is None
    assert not search.conductor.is_done  # the other runs
    resume_trials(tmp_path, [0])
    look(search)
    assert search.suggest() == first and search.train(first)
    for trial in (first, second):
        search.conductor.complete(trial.trial)
    assert search.conductor.is_finished and search.records[0].status == COMPLETE


def test_a_paused_trial_ends_with_the_budget(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2, budget=BudgetConfig(epochs=3))
    first = search.suggest()
    search.train(first, 1)
    pause_trials(tmp_path, [0])
    look(search)
    assert not search.train(first, 2)
    search.conductor.complete(0)
    assert not search.train(search.suggest())
    search.conductor.complete(1)
    assert search.conductor.suggest() is None and search.conductor.is_finished
    assert [(record.status, record.last_epoch) for record in search.records] == [(PRUNED, 2), (PRUNED, 1)]


def test_an_error_of_a_trial_that_is_being_paused_costs_no_retry(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1, max_retries=0)
    proposal = search.suggest()
    pause_trials(tmp_path, [0])
    look(search)
    assert not search.train(proposal, 1)
    search.conductor.complete(0, failed=True)
    resume_trials(tmp_path, [0])
    look(search)
    assert search.train(search.suggest())
    search.conductor.complete(0)
    assert search.records[0].status == COMPLETE


def test_a_damaged_control_changes_nothing_of_a_study_that_runs(tmp_path: Path) -> None:
    search = Search(tmp_path, max_concurrent=1)
    StudyFolder(tmp_path).control.write_text('{"concurrent": "many"}')
    look(search)
    with pytest.warns(UserWarning, match="goes on as before"):
        search.suggest()
    for read in (lambda: Search(tmp_path), lambda: pause_trials(tmp_path, [0])):
        with pytest.raises(StudyError, match="Remove it"):
            read()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("concurrent", "KEY|=VALUE"),
        ("concurrent=0", "concurrent"),
        ("concurrent=two", "concurrent"),
        ("concurrent.x=1", "=VALUE"),
        ("trials=4", "concurrent=VALUE"),
        ("pruner=mediam", "median"),
        ("pruner.grace=2", "grace_epochs"),
        ("pruner={name: asha, metric: nonsense}", "known column"),
        ("pruner=3", "pruner"),
        ("pruner=[", "YAML"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(tmp_path: Path, setting: str, said: str) -> None:
    Search(tmp_path)
    change_settings(tmp_path, ["concurrent=2"])
    with pytest.raises(ConfigError) as refused:
        change_settings(tmp_path, ["concurrent=5", setting])
    assert any(part in f"{refused.value}" for part in said.split("|"))
    assert read_control(tmp_path) == Control(concurrent=2)


def test_only_what_runs_is_paused_and_only_what_is_paused_resumed(tmp_path: Path) -> None:
    Search(tmp_path, trials=1).run()
    for trial in (0, 7):
        with pytest.raises(ConfigError, match=f"trial {trial}"):
            pause_trials(tmp_path, [trial])
        with pytest.raises(ConfigError, match="paused: none"):
            resume_trials(tmp_path, [trial])
    with pytest.raises(StudyError):
        change_settings(tmp_path / "elsewhere", ["concurrent=2"])
    assert not (tmp_path / "elsewhere").exists()


def test_commands_at_the_same_moment_lose_nothing(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=6)
    trials = [search.suggest().trial for _ in range(6)]
    threads = [threading.Thread(target=pause_trials, args=(tmp_path, [trial])) for trial in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_control(tmp_path).paused == trials


def test_the_commands_change_what_status_shows(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.train(search.suggest(), 1)

    def command(*words: str) -> str:
        result = CliRunner().invoke(app, ["study", words[0], str(tmp_path), *words[1:]])
        assert result.exception is None
        return result.output

    assert "3 trials at a time, pruner median" in command("set", "concurrent=3", "pruner=median")
    command("pause", "0")
    assert "paused: 0" in command("status") and "1 (paused)" in command("status")
    command("resume", "0")
    assert "as the configuration says" in command("set", "concurrent=null", "pruner=null")
    assert "set:" not in command("status")


def test_a_trial_leaves_a_node_that_is_taken_away_without_losing_anything(tmp_path: Path) -> None:
    expected = Search(tmp_path / "undisturbed", trials=2).run()
    pruner = StopAt()
    search = Search(tmp_path / "moved", pruner, trials=2, max_retries=0)
    for epoch in range(
        1, EPOCHS + 1
    ):  # each on another node, the last one while its record is still to be written
        proposal = search.suggest()
        assert proposal.trial == 0 and search.train(proposal, epoch - 1)
        row = row_at(proposal.values, epoch)
        epoch_log.append(proposal.folder, row)
        assert search.conductor.report(0, row, is_preempted=True) is False
        search.conductor.complete(0)
    assert search.conductor.retries_left(0) == 0
    assert table(search.run()) == table(expected)
    assert pruner.seen[:EPOCHS] == [(0, epoch) for epoch in range(1, EPOCHS + 1)]
    assert not any(isinstance(event, TrialPaused) for event in search.events)


def test_a_trial_tells_of_the_notice_of_its_node(tmp_path: Path) -> None:
    notice, told = tmp_path / "notice", list[dict[str, Any]]()
    report = telling_of_preemption(told.append, str(notice))
    report(EpochRow({EPOCH: 1}))
    notice.touch()
    report(EpochRow({EPOCH: 2}))
    telling_of_preemption(told.append, None)(EpochRow({EPOCH: 3}))
    assert told == [{EPOCH: 1}, {EPOCH: 2, PREEMPTED: True}, {EPOCH: 3}]


def test_steering_a_study_imports_nothing_that_its_card_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`study set`, `pause`, `resume`, `status` and `rebuild` read the configuration in a folder's study.json."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "attack_of_a_card.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(modules))
    folder, theirs, config = tmp_path / "study", "attack_of_a_card:Network", study_config(trials=2)

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1:
            raise Killed

    with pytest.raises(Killed):
        run_here(config, folder, on_event=kill)
    named = config.model_dump(mode="json") | {
        "sampler": {"name": theirs},
        "references": [{"name": "theirs", "network": theirs}],
        "space": {"architecture": {"kind": "choice", "values": {theirs: {}, "unet": {}}}},
    }
    trial = {"architecture": theirs, "task_loss": theirs, "image_loss": f"mse + 2*{theirs}"}
    values = {"data": {"source": {"kind": theirs}}, "trial": trial, "study": named}
    StudyCard(objectives=config.objectives, config=values).write(StudyFolder(folder).card)
    change_settings(folder, ["concurrent=2", "pruner=asha"])
    pause_trials(folder, [1])
    resume_trials(folder, [1])
    assert study_status(folder).control.concurrent == 2
    StudyFolder(folder).journal.unlink()
    with pytest.raises(TaskctError):
        rebuild_study(folder)
    assert not (tmp_path / "imported").exists()
    importlib.import_module("attack_of_a_card")
    assert (tmp_path / "imported").exists()  # as it would have been
