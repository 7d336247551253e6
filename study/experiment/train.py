"""One trial on its own: what ``taskct train`` makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from study.experiment.experiment import Experiment
from study.experiment.inputs import fresh_samples, open_inputs
from study.experiment.stage import Stage
from study.trials.executors import check_execution
from study.trials.single import train_trial
from study.trials.task import TrialTask
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow


class TrainStage(Stage[EpochRow]):
    """Trains the experiment's single trial, or continues it."""

    makes = "trial"

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.rows: list[EpochRow] = []  # final ones, once the trial is trained

    @property
    def folder(self) -> Path:
        return self.experiment.workspace.trial

    def check(self) -> None:
        check_execution(self.experiment.config.execution)

    def find_done(self) -> bool:
        _ = self.experiment.task_network  # a bad one is found before Ray is started
        return False  # a finished trial is continued by no epoch

    def make(self, on_step: Callable[[EpochRow], None]) -> None:
        experiment = self.experiment
        config = experiment.config
        fresh = fresh_samples(config, experiment.dataset, experiment.workspace.dataset)
        inputs = open_inputs(
            experiment.dataset,
            experiment.workspace,
            config.execution.data_path,
            experiment.trust,
            fresh,
            image_quality=config.image_quality,
        )
        inputs = replace(inputs, further_judges=experiment.further_judges)
        task = TrialTask(config.trial, TrialFolder.at(self.folder), 0)
        self.rows = train_trial(task, inputs, config.execution, on_step)
