"""``taskct train``: one trial on its own, executed as a study would execute it."""

from __future__ import annotations

from collections.abc import Callable

from study.trials.config import ExecutionConfig
from study.trials.follow import follow_epochs
from study.trials.inputs import TrialInputs, Worker
from study.trials.ray_train import fit_in_train
from study.trials.resources import worker_resources
from study.trials.task import TrialTask
from study.trials.trial import run_trial
from taskct_core.contracts.rows import EpochRow, read_rows


def train_trial(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, on_epoch: Callable[[EpochRow], None]
) -> list[EpochRow]:
    """Train one trial, or continue it, and return its final rows. Needs a running Ray session.

    Raises:
        TaskctError: if the trial failed for a reason that the user can act on.
    """
    with follow_epochs(task.folder, on_epoch):
        if execution.executor == "train":
            fit_in_train(task, inputs, execution)
        else:
            _run_in_task(task, inputs, execution)
    return read_rows(task.folder.final)


def _run_in_task(task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig) -> None:
    """The actor executor's process for a single trial: a Ray task with the same resources."""
    import ray

    resources = worker_resources(execution)

    @ray.remote(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0))
    def train() -> None:
        import torch

        torch.set_num_threads(execution.threads_per_worker)
        worker = Worker(device=torch.device("cuda" if execution.use_gpu else "cpu"))
        run_trial(task.config, task.folder, inputs, worker, lambda _row: None, task.trial)

    ray.get(train.remote())
