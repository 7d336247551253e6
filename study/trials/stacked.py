"""Several trials in one process, epoch by epoch: those that share an architecture and a batch size are trained as one.

Each has its folder, log and checkpoint, and goes on from them, as if it were alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from study.data.batches import Share
from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs, Worker, load_judges
from study.trials.task import trusted_task
from study.trials.trial import TrialRun
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import ConfigError, TrainingError
from taskct_core.reconstructors import build_reconstructor
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import FrontTraining, build_trial_training
from taskct_core.training.stack import ALIKE_IN_A_STACK, STACKED_MODES, StackedTraining, TrainingStack
from taskct_core.training.trial import Training


@dataclass(frozen=True)
class TrialFailed:
    """Why a trial of a stack failed, and whether it would fail again."""

    error: str
    is_fatal: bool


class StackRunner:
    """Trains the trials that are begun in it.

    Args:
        base: the experiment's trial, which a proposal's values override.
        inputs: what the study's trials share.
        execution: device and threads.
    """

    def __init__(self, base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig) -> None:
        torch.set_num_threads(execution.threads_per_worker)
        self._base = base
        self._inputs = inputs
        self._worker = Worker(device=torch.device("cuda" if execution.use_gpu else "cpu"))
        network, card = load_task_network(open_folder(inputs.task_network), inputs.trust)
        self._network = network.to(self._worker.device).freeze()
        self._network_hash = card.content_hash
        self._runs: dict[int, TrialRun] = {}

    def begin(self, proposal: dict[str, Any]) -> list[EpochRow] | TrialFailed:
        """Take up a search's proposal; returns the rows of the epochs that it has behind it."""
        try:
            task = trusted_task(self._base, proposal, self._inputs)
            training = self._build(task.config)
            _, judges = load_judges(self._inputs, task.config)
            run = TrialRun(
                training, task.folder, self._inputs, self._worker, self._network_hash, task.trial, judges
            )
        except Exception as error:
            return _failure(error)
        self._runs[task.trial] = run
        return run.rows_so_far

    def epoch(self, trials: Sequence[int]) -> dict[int, EpochRow | TrialFailed]:
        """Train an epoch of each of these trials that has one left, and score it."""
        results: dict[int, EpochRow | TrialFailed] = {}
        for group in self._groups([trial for trial in trials if not self._runs[trial].is_trained]):
            start = time.perf_counter()
            try:
                means = self._train(group)
            except Exception as error:  # of one trial's samples or of all: none of the group has an epoch
                results |= {trial: _failure(error) for trial in group}
                continue
            seconds = (time.perf_counter() - start) / len(group)  # a trial's part
            results |= {
                trial: self._scored(trial, found, seconds) for trial, found in zip(group, means, strict=True)
            }
        return results

    def is_trained(self, trial: int) -> bool:
        """Whether no epoch of the trial is left."""
        return self._runs[trial].is_trained

    def finish(self, trial: int) -> TrialFailed | None:
        """Write a trained trial's record, and forget it."""
        try:
            self._runs.pop(trial).finish()
        except Exception as error:
            return _failure(error)
        return None

    def drop(self, trial: int) -> None:
        """Forget a trial that was stopped."""
        self._runs.pop(trial, None)

    def _build(self, config: TrialConfig) -> Training | FrontTraining:
        if config.mode not in STACKED_MODES or config.judges != "first":
            return build_trial_training(
                config,
                geometry=self._inputs.geometry,
                task_network=self._network,
                further_judges=load_judges(self._inputs, config)[0],
                device=self._worker.device,
            )
        torch.manual_seed(config.seed)
        module = build_reconstructor(
            config.architecture, config.architecture_parameters, self._inputs.geometry
        ).to(self._worker.device)
        return StackedTraining(
            config, module, self._network, None, self._worker.device, lambda wrapped: wrapped
        )

    def _groups(self, trials: Sequence[int]) -> list[list[int]]:
        """The trials that are trained as one, and each of the others alone."""
        groups: dict[object, list[int]] = {}
        for trial in trials:
            training = self._runs[trial].training
            config = training.config
            key: object = trial
            if isinstance(training, StackedTraining):
                key = tuple(repr(getattr(config, name)) for name in ALIKE_IN_A_STACK)
            groups.setdefault(key, []).append(trial)
        return list(groups.values())

    def _train(self, group: Sequence[int]) -> Sequence[dict[str, float] | TrainingError]:
        trainings = [self._runs[trial].training for trial in group]
        batches = [
            self._inputs.feeds["train"].shuffled(
                training.config.batch_size,
                seed=training.config.seed,
                epoch=training.epoch + 1,
                share=Share(),
            )
            for training in trainings
        ]
        stacked = [training for training in trainings if isinstance(training, StackedTraining)]
        if not stacked:
            return [trainings[0].train_epoch(batches[0])]
        return TrainingStack(stacked).train_epoch(stacked, batches)

    def _scored(
        self, trial: int, found: dict[str, float] | TrainingError, seconds: float
    ) -> EpochRow | TrialFailed:
        if isinstance(found, TrainingError):
            return _failure(found)
        losses = {name: value for name, value in found.items() if name != "samples"}
        try:
            return self._runs[trial].end_epoch(losses, seconds)
        except Exception as error:
            return _failure(error)


def _failure(error: Exception) -> TrialFailed:
    is_ours = isinstance(error, ConfigError | TrainingError)
    return TrialFailed(str(error) if is_ours else f"{type(error).__name__}: {error}", is_ours)
