"""A standing worker group trains each trial as if it were its first, and survives what happens to one.

A group of a trial's own: tests/study/test_executors.py.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from study.config import ExecutionConfig
from study.experiment.inputs import open_inputs
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.ray_train import train_with_ray_train
from study.trials.task import TrialTask
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import TrainingError
from taskct_core.training.config import TrialConfig

TWO = ExecutionConfig(executor="train", workers_per_trial=2, cpus_per_worker=0.5)
pytestmark = [pytest.mark.ray, pytest.mark.slow]


class Coordinator:
    """The process that Ray Tune keeps warm."""

    def train(self, task: TrialTask, inputs: TrialInputs, stop_after: int = 99) -> list[int]:
        """The epochs that were reported."""
        epochs: list[int] = []

        def report(row: dict[str, Any]) -> None:
            epochs.append(row[schema.EPOCH])
            if len(epochs) == stop_after:
                raise SystemExit  # as Ray Tune does in a trial that it stops

        with suppress(SystemExit):
            train_with_ray_train(task, inputs, TWO, report)
        return epochs

    def workers(self) -> list[int]:
        """Process ids of the group's workers."""
        found = []
        for process in psutil.Process().parent().children():
            with suppress(psutil.Error):  # of one that ends meanwhile
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found


@pytest.fixture(scope="module")
def inputs(small: Any, local_ray: None) -> TrialInputs:
    return open_inputs(small.card, small.workspace)


@pytest.fixture(scope="module")
def coordinator(local_ray: None) -> Any:
    return ray.remote(num_cpus=0)(Coordinator).remote()


@pytest.fixture(scope="module")
def config(small: Any) -> TrialConfig:
    return small.experiment.trial.model_copy(update={"alpha": 0.0, "batch_size": 2})


@pytest.fixture(scope="module")
def fresh(
    config: TrialConfig, inputs: TrialInputs, coordinator: Any, tmp_path_factory: pytest.TempPathFactory
) -> list[EpochRow]:
    """The epochs of the first trial of a group of two workers."""
    task = TrialTask(config, TrialFolder(tmp_path_factory.mktemp("fresh")), 8)
    assert ray.get(coordinator.train.remote(task, inputs)) == [1, 2]
    return epoch_log.read(task.folder)


def test_two_workers_train_as_one_with_twice_the_batch(
    config: TrialConfig, inputs: TrialInputs, fresh: list[EpochRow], tmp_path: Path
) -> None:
    """Gradients are averaged over workers, so two batches of 2 make the step of one batch of 4."""
    run_trial(config.model_copy(update={"batch_size": 4}), tmp_path, inputs, Worker(), lambda row: None)
    for one, two in zip(epoch_log.read(tmp_path), fresh, strict=True):
        assert two[schema.LOSS] == pytest.approx(one[schema.LOSS], rel=1e-3)
        assert two[schema.PRIMARY_PSNR] == pytest.approx(one[schema.PRIMARY_PSNR], abs=0.02)


def test_trials_follow_each_other_in_one_group(
    config: TrialConfig, inputs: TrialInputs, coordinator: Any, fresh: list[EpochRow], tmp_path: Path
) -> None:
    workers = ray.get(coordinator.workers.remote())
    assert len(workers) == 2
    other = TrialTask(config.model_copy(update={"alpha": 0.2}), TrialFolder(tmp_path / "other"), 7)
    assert ray.get(coordinator.train.remote(other, inputs, stop_after=1)) == [1]
    standing = TrialTask(config, TrialFolder(tmp_path / "standing"), 8)
    assert ray.get(coordinator.train.remote(standing, inputs)) == [1, 2]
    assert ray.get(coordinator.workers.remote()) == workers
    for here, there in zip(epoch_log.read(standing.folder), fresh, strict=True):
        for column in (schema.LOSS, schema.PRIMARY_PSNR, schema.PRIMARY_DICE):
            assert here[column] == pytest.approx(there[column], rel=1e-6)


def test_after_a_failure_another_group_starts(
    config: TrialConfig, inputs: TrialInputs, coordinator: Any, tmp_path: Path
) -> None:
    os.kill(ray.get(coordinator.workers.remote())[-1], signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayTaskError, match=r"died|failed|dead"):
        ray.get(coordinator.train.remote(TrialTask(config, TrialFolder(tmp_path / "killed"), 0), inputs))
    diverging = TrialTask(
        config.model_copy(update={"learning_rate": 1e30}), TrialFolder(tmp_path / "diverging"), 1
    )
    with pytest.raises(TrainingError, match="must stay finite"):
        ray.get(coordinator.train.remote(diverging, inputs))
