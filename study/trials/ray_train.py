"""Training trials with Ray Train: in this process, in a worker group that stands, or in one of a trial's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from study.data.batches import Share
from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs, Worker
from study.trials.resources import worker_resources
from study.trials.standing_group import Report, StandingGroup, serve
from study.trials.task import TrialTask
from study.trials.trial import run_trial
from taskct_core.contracts.files import arrow_filesystem
from taskct_core.errors import TaskctError

_group: StandingGroup | None = None  # of this process


def train_with_ray_train(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, report: Report
) -> None:
    """Run one of a study's trials where nothing needs to be started for it, once the first one has run.

    One worker is this process, by Ray Train's local mode. Several are a group that this process keeps from trial to
    trial; where it fails, the next trial starts another.

    Raises:
        TaskctError: if a worker raised one; else whatever Ray Train says of the failure.
    """
    if execution.workers_per_trial == 1:
        _train_here(task, inputs, execution, report)
    else:
        _train_in_standing_group(task, inputs, execution, report)


def fit_in_train(task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig) -> None:
    """Run one trial in a Ray Train worker group of its own and wait for it.

    Raises:
        TaskctError: if a worker raised one; else whatever Ray Train says of the failure.
    """
    settings = {"task": task, "inputs": inputs, "threads": execution.threads_per_worker}
    _off_the_main_thread(lambda: _fit(_train_one, settings, task, execution))


def _train_here(task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, report: Report) -> None:
    import torch
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    def train() -> None:
        # Of Ray Train's own context nothing may be asked inside a function of Ray Tune.
        torch.set_num_threads(execution.threads_per_worker)
        worker = Worker(device=torch.device("cuda" if execution.use_gpu else "cpu"))
        run_trial(task.config, task.folder, inputs, worker, report, task.trial)

    scaling = ScalingConfig(num_workers=0, use_gpu=execution.use_gpu)
    TorchTrainer(train, scaling_config=scaling).fit()


def _train_in_standing_group(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, report: Report
) -> None:
    global _group
    if _group is None:
        settings = {"inputs": inputs, "threads": execution.threads_per_worker}
        _group = StandingGroup(
            lambda mailbox: _fit(_train_many, settings | {"mailbox": mailbox}, task, execution)
        )
    try:
        _group.train(task, report)
    except Exception:
        _group = None
        raise


def _fit(
    work: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    task: TrialTask,
    execution: ExecutionConfig,
) -> None:
    """Run a worker group until its workers return, in the first trial's folder."""
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    from study.trials.process_group import LocalTorchConfig

    storage_path, filesystem = arrow_filesystem(task.folder.resolved().ray_train)
    trainer = TorchTrainer(
        work,
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=execution.workers_per_trial,
            use_gpu=execution.use_gpu,
            resources_per_worker=worker_resources(execution),
        ),
        torch_config=LocalTorchConfig(backend=None if execution.use_gpu else "gloo"),
        run_config=RunConfig(
            name=task.folder.path.name, storage_path=storage_path, storage_filesystem=filesystem
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _worker_error(error) from error


def _off_the_main_thread(function: Callable[[], object]) -> None:
    """Run it where Ray Train leaves Ctrl-C to us: its own handler ends the process as if all had been done."""
    if threading.current_thread() is not threading.main_thread():
        function()
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="ray-train")
    try:
        pool.submit(function).result()
    finally:
        pool.shutdown(wait=False)  # after Ctrl-C it ends with the session


def _worker_error(error: Exception) -> Exception:
    """The error of the first worker that failed for a reason a user can act on, else the whole error."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, TaskctError):
            return cause
    return error


def _train_one(settings: dict[str, Any]) -> None:
    """What each worker of a trial's own group runs."""
    import ray.train

    task: TrialTask = settings["task"]
    worker = _worker(settings["threads"])
    run_trial(task.config, task.folder, settings["inputs"], worker, ray.train.report, task.trial)


def _train_many(settings: dict[str, Any]) -> None:
    """What each worker of a standing group runs."""
    worker = _worker(settings["threads"])

    def work(task: TrialTask, report: Report) -> None:
        run_trial(task.config, task.folder, settings["inputs"], worker, report, task.trial)

    serve(settings["mailbox"], work, is_first=worker.is_first)


def _worker(threads: int) -> Worker:
    """This process as Ray Train placed it."""
    import ray.train
    import ray.train.torch
    import torch

    torch.set_num_threads(threads)
    context = ray.train.get_context()
    share = Share(rank=context.get_world_rank(), world_size=context.get_world_size())
    return Worker(share, ray.train.torch.get_device(), ray.train.torch.prepare_model)
