"""Two ways to execute one training loop: with Ray Train, or in a warm actor.

``train``   Ray Train: several workers, GPUs or nodes a trial, samples from memory or streamed by Ray Data. A worker
            group stays for the trials that follow; a single worker is the process that Ray Tune keeps warm.
``actor``   the trial runs in that process without Ray Train: on one device or a fraction of one.

Both call ``study.trials.trial.run_trial``, so a configuration and its seed give the same result in either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs, Worker
from study.trials.preemption import telling_of_preemption
from study.trials.ray_train import fit_in_train, train_with_ray_train
from study.trials.repeats import Repeats, repeat_trial
from study.trials.task import TrialTask, trusted_task
from study.trials.trial import run_trial
from study.trials.trial_config import write_trial_config
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import ConfigError
from taskct_core.registry import load
from taskct_core.training.config import TrialConfig

Trainable = Callable[[dict[str, Any]], None]


def make_trainable(base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig) -> Trainable:
    """The Ray Tune trainable that runs a study's trials as ``execution`` says.

    Its configuration is a search's proposal: ``{"trial": 3, "folder": ".../trials/0003", "values": {...}}``.
    """
    from ray import tune

    run = {"train": train_with_ray_train, "actor": _run_in_actor}[execution.executor]

    def trainable(
        proposal: dict[str, Any], base: TrialConfig, inputs: TrialInputs, execution: ExecutionConfig
    ) -> None:
        from ray import tune

        report = telling_of_preemption(tune.report, execution.preemption_notice)
        run(trusted_task(base, proposal, inputs), inputs, execution, report)

    return tune.with_parameters(trainable, base=base, inputs=inputs, execution=execution)


def make_repeated_trainable(base: TrialConfig, repeats: Repeats, execution: ExecutionConfig) -> Trainable:
    """The Ray Tune trainable that runs each of a study's configurations on every fold and seed."""
    from ray import tune

    run = {"train": train_with_ray_train, "actor": _run_in_actor}[execution.executor]

    def trainable(
        proposal: dict[str, Any], base: TrialConfig, repeats: Repeats, execution: ExecutionConfig
    ) -> None:
        from ray import tune

        task = trusted_task(base, proposal, repeats.shared)

        def run_one(config: TrialConfig, folder: TrialFolder, inputs: TrialInputs) -> None:
            part = TrialTask(config, folder, task.trial)
            if execution.workers_per_trial > 1:  # a group that stands keeps the samples of one fold
                fit_in_train(part, inputs, execution)
            else:
                run(part, inputs, execution, lambda _row: None)

        report = telling_of_preemption(tune.report, execution.preemption_notice)
        repeat_trial(task.config, task.folder, repeats, run_one, report, task.trial)

    return tune.with_parameters(trainable, base=base, repeats=repeats, execution=execution)


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


def check_execution(execution: ExecutionConfig) -> None:
    """Refuse combinations that cannot run.

    Raises:
        ConfigError: for several workers in an actor, or several workers on fractions of a GPU.
    """
    if execution.stack > 1 and execution.workers_per_trial > 1:
        raise ConfigError(
            "a stack of trials is trained by one worker",
            f"execution.stack = {execution.stack} with workers_per_trial = {execution.workers_per_trial}",
            "Set one of them to 1.",
        )
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
