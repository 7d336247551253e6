"""A trial whose process dies while Ray Tune starts it: Tune gives it up, the study does not.

Tune's part is played as its controller plays it (``_process_trial_failure``): it tells the scheduler of an error with
the trial's status ERROR and restarts it; an error while the trial is PENDING ends that Tune trial at once.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from lookup_trainable import DIRECTIONS, row_at
from ray.exceptions import ActorDiedError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from studies import EPOCHS, run_here, study_config, table

import study.run
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import COMPLETE, FAIL


class Controller:
    """Runs trials one at a time; ``deaths`` of trial 2 each give a message while it runs and one while it waits."""

    def __init__(self, deaths: int, messages: tuple[str, ...]) -> None:
        self.deaths, self.messages = deaths, messages

    def execute(self, trainable: Any, tune_config: Any, folder: Path, max_retries: int) -> None:
        searcher, scheduler = tune_config.search_alg, tune_config.scheduler
        for trial_id in map(str, itertools.count()):
            proposal = searcher.suggest(trial_id)
            if proposal == Searcher.FINISHED:
                return
            trial = SimpleNamespace(trial_id=trial_id, config=proposal, num_failures=0)
            scheduler.on_trial_add(None, trial)
            if proposal["trial"] == 2 and self.deaths:
                self.deaths -= 1
                self.die(trial, scheduler)
                searcher.on_trial_complete(trial_id, error=True)
                continue
            for epoch in range(1, EPOCHS + 1):
                row = row_at(proposal["values"], epoch)
                epoch_log.append(StudyFolder(folder).trial(proposal["trial"]), row)
                scheduler.on_trial_result(None, trial, row)
            searcher.on_trial_complete(trial_id, row)

    def die(self, trial: Any, scheduler: Any) -> None:
        for status in self.messages:
            trial.status = status
            with mock.patch("study.schedulers.tune_scheduler._last_error", lambda trial: ActorDiedError()):
                scheduler.on_trial_error(None, trial)


def run(folder: Path, deaths: int, messages: tuple[str, ...], max_retries: int = 2) -> list[Any]:
    controller = Controller(deaths, messages)
    config = study_config(trials=5, max_retries=max_retries)
    with mock.patch.object(study.run, "_execute", controller.execute):
        summary = study.run.run_study(
            config,
            folder,
            trainable=lambda proposal: None,
            fingerprint={"data": "data-1"},
            max_concurrent=1,
            resources={"cpu": 1},
            metric_directions=DIRECTIONS,
            epochs=EPOCHS,
        )
    assert controller.deaths == 0
    return summary.trials


@pytest.mark.parametrize("messages", [(Trial.PENDING,), (Trial.ERROR, Trial.PENDING)])
def test_a_trial_that_tune_gives_up_is_proposed_again(tmp_path: Path, messages: tuple[str, ...]) -> None:
    expected = table(run_here(study_config(trials=5, max_retries=2), tmp_path / "alone").trials)
    trials = run(tmp_path / "killed", 2, messages)
    assert table(trials) == expected
    assert [record.retries for record in trials] == [0, 0, 2, 0, 0]  # a death told twice counts once


def test_after_its_last_retry_it_fails_with_the_reason(tmp_path: Path) -> None:
    trials = run(tmp_path, 3, (Trial.PENDING,))
    assert [record.status for record in trials] == [COMPLETE, COMPLETE, FAIL, COMPLETE, COMPLETE]
    assert "process died" in (trials[2].reason or "") and trials[2].retries == 2
