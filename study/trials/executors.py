"""Two ways to execute one training loop: a Ray Train worker group, or a warm actor.

``train``   every trial starts a ``TorchTrainer``: several workers, GPUs or nodes a trial, samples from
            memory or streamed by Ray Data. Starting the worker group costs seconds.
``actor``   the trial runs in the process that Ray Tune keeps warm between trials: for short trials on one
            device or a fraction of one.

Both call ``study.trials.trial.run_trial``, so a configuration and its seed give the same result in either.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.data.batches import Share
from study.trials.config import ExecutionConfig
from study.trials.trial import (
    TrialInputs,
    Worker,
    require_trusted,
    run_trial,
    write_trial_config,
)
from taskct_core.config import TrialConfig
from taskct_core.contracts.files import arrow_filesystem, open_folder
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import ConfigError, TaskctError
from taskct_core.registry import load

Trainable = Callable[[dict[str, Any]], None]
# Of the Tune function that only waits for its Ray Train workers; Ray refuses 0 CPUs.
_MANAGER_CPUS = 0.01
_DRIVER_SHARE = 0.001  # of the resource that keeps coordinators off preemptible nodes


@dataclass(frozen=True)
class TrialTask:
    """A trial as it travels to the process that runs it."""

    config: TrialConfig
    folder: Path
    trial: int

    @classmethod
    def from_search(cls, base: TrialConfig, proposal: dict[str, Any]) -> TrialTask:
        """The trial that a search proposed: ``base`` with its ``values``, in its ``folder``.

        Raises:
            ConfigError: if the values make no valid trial.
        """
        values = base.model_dump() | proposal["values"]
        if (
            values["architecture"] != base.architecture
            and "architecture_parameters" not in proposal["values"]
        ):
            values["architecture_parameters"] = {}  # the base's belong to its own architecture
        return cls(TrialConfig.parse(values), open_folder(proposal["folder"]), int(proposal["trial"]))


def make_trainable(base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig) -> Trainable:
    """The Ray Tune trainable that runs a study's trials as ``execution`` says.

    Its configuration is a search's proposal: ``{"trial": 3, "folder": ".../trials/0003", "values": {...}}``.
    """
    from ray import tune

    run = {"train": _run_in_train, "actor": _run_in_actor}[execution.executor]

    def trainable(
        proposal: dict[str, Any], base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig
    ) -> None:
        from ray import tune

        run(trusted_task(base, proposal, inputs), inputs, execution, tune.report)

    return tune.with_parameters(trainable, base=base, inputs=inputs, execution=execution)


def trusted_task(base: TrialConfig, proposal: dict[str, Any], inputs: TrialInputs) -> TrialTask:
    """The proposed trial; a storage that others filled may have names of theirs in it.

    Raises:
        ConfigError: if its values make no valid trial, or name a plug-in that the experiment does not.
    """
    task = TrialTask.from_search(base, proposal)
    require_trusted(task.config, inputs.trust, "the study's storage")
    return task


def make_own_trainable(name: str, base: TrialConfig, inputs: TrialInputs) -> Trainable:
    """The user's own Ray Tune trainable that ``study.trainable`` names; see docs/study.md.

    It is called with the search's proposal and, where it has arguments of these names, ``base`` (the experiment's
    TrialConfig, which the proposal's values override) and ``inputs``.

    Raises:
        ConfigError: if it cannot be imported or called.
    """
    from ray import tune

    if not callable(load(name, {}, "trainable")):
        raise ConfigError("study.trainable must name a function", name, "docs/study.md shows one.")

    def trainable(proposal: dict[str, Any], base: TrialConfig, inputs: TrialInputs) -> None:
        function = load(name, {}, "trainable")  # imported where the trial runs
        task = trusted_task(base, proposal, inputs)
        write_trial_config(task.folder, task.config)
        wanted = inspect.signature(function).parameters
        offered = {"base": base, "inputs": inputs}
        function(proposal, **{key: value for key, value in offered.items() if key in wanted})

    return tune.with_parameters(trainable, base=base, inputs=inputs)


def tune_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What Ray Tune reserves for one trial; Ray Train reserves its workers by itself.

    A trial of Ray Train has a coordinator, which ``execution.driver_resource`` keeps off preemptible nodes; an
    actor coordinates nothing and goes wherever there is room.
    """
    if execution.executor == "train":
        return {"CPU": _MANAGER_CPUS, **driver_resources(execution)}
    return worker_resources(execution)


def driver_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What keeps a driver or a trial's coordinator on nodes that are not preempted."""
    return {execution.driver_resource: _DRIVER_SHARE} if execution.driver_resource else {}


def worker_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker of a trial takes."""
    resources = {"CPU": float(execution.cpus_per_worker)}
    if execution.use_gpu:
        resources["GPU"] = float(execution.gpus_per_worker)
    return resources


def simulation_cpus(execution: ExecutionConfig, trials: int, cpus: float) -> int:
    """CPUs that simulate one trial's fresh samples, if so many trials run at a time; 0: its own process does.

    A CPU simulates several times faster than it trains, a GPU trains faster than many CPUs simulate.

    Args:
        execution: of the trials.
        trials: at a time.
        cpus: of the cluster.
    """
    if execution.simulation_cpus is not None:
        return execution.simulation_cpus
    if not execution.use_gpu:
        return 0
    return max(0, int(cpus / trials - execution.workers_per_trial * execution.cpus_per_worker))


def check_execution(execution: ExecutionConfig) -> None:
    """Refuse combinations that cannot run.

    Raises:
        ConfigError: for several workers in an actor, or several workers on fractions of a GPU.
    """
    if execution.executor == "actor" and execution.workers_per_trial > 1:
        raise ConfigError(
            "the actor executor runs one worker a trial",
            f"execution.workers_per_trial = {execution.workers_per_trial}",
            "Use execution.executor: train for several workers.",
        )
    if execution.use_gpu and execution.gpus_per_worker < 1 and execution.workers_per_trial > 1:
        raise ConfigError(
            "a fraction of a GPU serves one worker a trial only (NCCL refuses two ranks on one GPU)",
            f"{execution.workers_per_trial} workers with {execution.gpus_per_worker} GPU each",
            "Set execution.workers_per_trial to 1 or gpus_per_worker to 1.",
        )


def _run_in_actor(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, report: Callable[[EpochRow], None]
) -> None:
    import torch

    torch.set_num_threads(execution.threads_per_worker)
    worker = Worker(device=torch.device("cuda" if execution.use_gpu else "cpu"))
    run_trial(task.config, task.folder, inputs, worker, report, task.trial)


def _run_in_train(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, report: Callable[[EpochRow], None]
) -> None:
    from ray.tune.integration.ray_train import TuneReportCallback

    fit_in_train(task, inputs, execution, callbacks=[TuneReportCallback()])


def fit_in_train(
    task: TrialTask, inputs: TrialInputs, execution: ExecutionConfig, callbacks: list[Any] | None = None
) -> None:
    """Run one trial in a Ray Train worker group and wait for it.

    Raises:
        TaskctError: if a worker raised one; else whatever Ray Train says of the failure.
    """
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    from study.trials.process_group import LocalTorchConfig

    storage_path, filesystem = arrow_filesystem(TrialFolder(task.folder.resolve()).ray_train)
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={
            "task": task,
            "inputs": inputs,
            "threads": execution.threads_per_worker,
        },
        scaling_config=ScalingConfig(
            num_workers=execution.workers_per_trial,
            use_gpu=execution.use_gpu,
            resources_per_worker=worker_resources(execution),
        ),
        torch_config=LocalTorchConfig(backend=None if execution.use_gpu else "gloo"),
        run_config=RunConfig(
            name=task.folder.name,
            storage_path=storage_path,
            storage_filesystem=filesystem,
            callbacks=callbacks or [],
        ),
    )
    try:
        _off_the_main_thread(trainer.fit)
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


def _train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import ray.train
    import ray.train.torch
    import torch

    torch.set_num_threads(settings["threads"])
    task: TrialTask = settings["task"]
    context = ray.train.get_context()
    worker = Worker(
        share=Share(rank=context.get_world_rank(), world_size=context.get_world_size()),
        device=ray.train.torch.get_device(),
        wrap=_wrap_for_data_parallelism,
    )
    run_trial(task.config, task.folder, settings["inputs"], worker, ray.train.report, task.trial)


def _wrap_for_data_parallelism(module: Any) -> Any:
    import ray.train.torch

    return ray.train.torch.prepare_model(module)
