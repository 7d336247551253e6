"""A study ends when a part of its budget is used up, counted over all its drivers, and shows what it has spent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from lookup_trainable import row_at
from rich.console import Console
from searches import Search, StopAt
from studies import EPOCHS, Killed, killed_at_write, run_here, study_config, table

from study.config import ExperimentConfig
from study.monitor.status import study_status
from study.monitor.status_view import draw_status
from study.run import retry_failed
from study.search.config import BudgetConfig
from study.search.storage.records import SPENT
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError
from taskct_core.schema import COMPLETE, FAIL, PRUNED, RUNNING


def text(folder: Path) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(draw_status(study_status(folder)))
    return out.getvalue()


def logged(folder: Path) -> int:
    """Epochs in the logs of all trials."""
    study = StudyFolder(folder)
    return sum(len(epoch_log.read(study.trial(trial))) for trial in study.trials_on_disk())


def test_the_study_ends_when_its_epochs_are_used_up(tmp_path: Path) -> None:
    summary = run_here(study_config(budget={"epochs": 10}), tmp_path)
    assert [(t.status, t.last_epoch) for t in summary.trials] == [(COMPLETE, 4), (COMPLETE, 4), (PRUNED, 2)]
    assert summary.trials[2].reason == summary.ended_by == "study.budget.epochs = 10 is used up"
    assert not summary.interrupted and not summary.timed_out
    status = study_status(tmp_path)
    assert (status.state, status.spent.epochs, status.spent.trials) == ("finished", 10, 3)
    assert "10 of 10 epochs" in text(tmp_path) and "ended: study.budget.epochs" in text(tmp_path)


def test_a_trial_at_its_last_epoch_is_whole(tmp_path: Path) -> None:
    summary = run_here(study_config(budget={"epochs": 8}), tmp_path)
    assert [trial.status for trial in summary.trials] == [COMPLETE] * 2 and summary.ended_by is not None


def test_a_budget_that_is_not_used_up_ends_nothing(tmp_path: Path) -> None:
    whole = run_here(study_config(trials=3, budget={"epochs": 12, "trials": 3, "seconds": 1e6}), tmp_path)
    assert [trial.status for trial in whole.trials] == [COMPLETE] * 3 and whole.ended_by is None
    assert study_status(tmp_path).ended_by is None


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    run_here(study_config(budget={"epochs": 10}), tmp_path)
    again = run_here(study_config(budget={"epochs": 10}), tmp_path)
    assert len(again.trials) == 3 and again.ended_by is not None and not again.interrupted
    summary = run_here(study_config(budget={"epochs": 100}), tmp_path)
    assert [trial.status for trial in summary.trials] == [COMPLETE, COMPLETE, PRUNED, *[COMPLETE] * 3]
    assert summary.ended_by is None and study_status(tmp_path).spent.epochs == 22


def test_a_kill_after_any_write_spends_no_epoch_anew(tmp_path: Path) -> None:
    config = study_config(
        trials=5, budget={"epochs": 11}, pruner={"name": "pareto_asha", "reduction_factor": 2}
    )
    expected = table(run_here(config, tmp_path / "whole").trials)
    for write in range(1, 1000, 17):
        folder = tmp_path / f"killed-{write}"
        try:
            with killed_at_write(write):
                run_here(config, folder)
        except Killed:
            assert table(run_here(config, folder).trials) == expected
            assert logged(folder) == study_status(folder).spent.epochs == 11
            continue
        break
    assert write > 40


def test_trials_that_run_together_do_not_overspend(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=3, budget=BudgetConfig(epochs=5))
    first, second = search.suggest(), search.suggest()
    rows = {trial.trial: [row_at(trial.values, epoch) for epoch in (1, 2, 3)] for trial in (first, second)}
    report = search.conductor.report
    assert report(0, rows[0][0]) and report(1, rows[1][0]) and report(0, rows[0][1])
    assert search.conductor.suggest() is None  # both train an epoch each: 5
    assert not report(1, rows[1][1])  # the other trains the last
    search.conductor.complete(1)
    assert not report(0, rows[0][2])
    search.conductor.complete(0)
    assert search.conductor.is_done and search.conductor.is_finished
    assert str(search.conductor.ended_by).startswith("study.budget.epochs")


def test_epochs_of_a_trial_that_failed_are_given_to_others(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=3, max_retries=0, budget=BudgetConfig(epochs=2))
    first, second = search.suggest(), search.suggest()
    search.conductor.fail(first.trial, "died")
    search.conductor.complete(first.trial, failed=True)
    assert search.conductor.report(second.trial, row_at(second.values, 1))


def test_time_is_spent_only_while_a_driver_runs_and_kept_over_drivers(tmp_path: Path) -> None:
    budget = BudgetConfig(seconds=100.0)
    first = Search(tmp_path, budget=budget)
    proposal = first.suggest()
    first.train(proposal, 1)
    first.now = 60.0
    assert not first.conductor.time_is_up  # an executor asks all the time; then it is killed
    second = Search(tmp_path, budget=budget)
    second.now = 39.0
    adopted = second.suggest()
    assert adopted == proposal and second.train(adopted, 2)
    second.now = 41.0
    assert not second.train(adopted, 3)
    second.conductor.complete(adopted.trial)
    assert second.conductor.suggest() is None and second.conductor.is_finished
    second.conductor.close()
    assert [record.status for record in second.records] == [PRUNED]
    assert second.study.user_attrs[SPENT]["seconds"] == pytest.approx(101.0)
    assert second.study.user_attrs[SPENT]["ended_by"] == "study.budget.seconds = 100 is used up"


def test_gpus_are_spent_by_trials_that_hold_them(tmp_path: Path) -> None:
    search = Search(tmp_path, gpus=2.0, budget=BudgetConfig(gpu_hours=3.0))
    first, second = search.suggest(), search.suggest()
    search.now = 3600.0  # waiting for a node
    search.conductor.started(first.trial)
    search.now += 1800.0
    search.conductor.started(second.trial)
    search.now += 1800.0
    assert search.conductor.report(first.trial, row_at(first.values, 1)) is False  # 2 + 1 GPU-hours
    search.conductor.complete(first.trial)
    assert search.conductor.report(second.trial, row_at(second.values, 1)) is False
    search.conductor.complete(second.trial)
    search.now += 3600.0
    search.conductor.close()
    assert search.study.user_attrs[SPENT]["gpu_hours"] == pytest.approx(3.0)


def test_repeats_of_failed_trials_count_as_trials(tmp_path: Path) -> None:
    config = study_config(trials=3, budget={"trials": 4}, max_retries=0)

    class Failing(Search):
        def fail_all(self) -> None:
            while (proposal := self.conductor.suggest()) is not None:
                self.conductor.fail(proposal.trial, "died")
                self.conductor.complete(proposal.trial, failed=True)

    rules: dict[str, Any] = {"trials": 3, "max_retries": 0, "budget": config.budget}
    Failing(tmp_path, **rules).fail_all()
    assert len(retry_failed(tmp_path)) == 3
    last = Failing(tmp_path, **rules)
    last.fail_all()
    assert [r.status for r in last.records if r.status != "WAITING"] == [FAIL] * 4
    assert last.conductor.is_finished and str(last.conductor.ended_by).startswith("study.budget.trials = 4")


def test_what_waits_for_an_adoption_ends_with_the_budget(tmp_path: Path) -> None:
    first = Search(tmp_path, StopAt())
    half, begun = first.suggest(), first.suggest()
    first.train(half, 2)
    assert [record.status for record in first.records] == [RUNNING] * 2
    second = Search(tmp_path, StopAt(), budget=BudgetConfig(epochs=2))
    assert second.conductor.suggest() is None and second.conductor.is_finished
    assert [(r.status, r.last_epoch) for r in second.records] == [(PRUNED, 2), (PRUNED, 0)]
    assert begun.values == second.records[1].values


def test_a_trial_whose_training_is_done_is_still_ended_by_itself(tmp_path: Path) -> None:
    first = Search(tmp_path)
    first.train(first.suggest(), EPOCHS)
    second = Search(tmp_path, budget=BudgetConfig(epochs=EPOCHS))
    second.run()
    assert [record.status for record in second.records] == [COMPLETE]


@pytest.mark.parametrize("budget", [{"trials": 0}, {"seconds": -1}, {"epochs": 2.5}, {"hours": 1}])
def test_a_budget_that_says_nothing_is_refused(budget: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="budget"):
        study_config(budget=budget)


def test_gpu_hours_need_gpus() -> None:
    with pytest.raises(ConfigError, match="use_gpu"):
        ExperimentConfig.parse({"study": {"budget": {"gpu_hours": 1}}})
