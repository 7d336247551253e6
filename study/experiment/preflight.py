"""Before a study starts: does the cluster have what its trials take, and does every architecture run?

All problems are found and told at once, rather than one a run, or as a trial that waits for ever: Ray does not
say that a worker can never be placed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from study.cluster.nodes import alive_nodes, shared_folder_problems
from study.cluster.ray_session import session_is_open
from study.config import ExperimentConfig, StudyConfig
from study.data.batches import Share
from study.data.feed import Feed
from study.experiment.reference_networks import reference_problems
from study.search.samplers import make_sampler
from study.search.space import SearchSpace
from study.search.space.dimensions import ChoiceDimension
from study.trials.config import ExecutionConfig
from study.trials.inputs import TrialInputs, load_judges
from study.trials.plugins import metric_directions
from study.trials.resources import has_coordinator, tune_resources, worker_resources
from study.trials.task import TrialTask
from taskct_core.contracts.files import is_remote, open_folder
from taskct_core.contracts.rows import Batch
from taskct_core.errors import ConfigError, ResourceError
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.trial import build_training

_STEP_SAMPLES = 2
_STATES_PER_PARAMETER = 3  # of Adam: the parameter and its two moments
_BYTES_PER_STATE = 4
_MARGIN_BYTES = 200e6  # results, logs and samples beside the checkpoints


def check_before_study(
    experiment: ExperimentConfig, folder: Path, inputs: TrialInputs, space: SearchSpace
) -> None:
    """Check resources, disk and one training step of every architecture in the search space.

    Args:
        experiment: whose study is about to start.
        folder: of the study.
        inputs: of its trials. Needs a running Ray session.
        space: that is searched, as ``check_space`` gives it.

    Raises:
        ResourceError: naming every problem found.
    """
    problems = cluster_problems(experiment)
    problems += shared_folder_problems(folder, alive_nodes())
    problems += reference_problems(inputs)
    parameters, broken = 0, list[str]()
    if experiment.study.trainable is None:
        parameters, broken = _try_architectures(experiment, inputs, space)
    problems += broken
    problems += disk_problems(experiment.study, folder, parameters)
    _refuse(problems)


def check_room_for_trials(experiment: ExperimentConfig) -> None:
    """Refuse what the cluster has no room for before hours are spent on what a study needs. Needs a running Ray session.

    Raises:
        ResourceError: naming every problem found.
    """
    _refuse(cluster_problems(experiment))


def cluster_problems(experiment: ExperimentConfig) -> list[str]:
    """What the cluster's nodes lack to run as many trials at a time as the study asks for, unless more will come."""
    if experiment.execution.autoscaling:
        return []
    nodes = [node["Resources"] for node in alive_nodes()]
    return resource_problems(experiment, _cluster_resources()) + placement_problems(experiment, nodes)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ResourceError(
            "a study starts only if its trials can run",
            "; ".join(problems),
            "Correct the configuration, or give Ray more.",
        )


def check_gpu(execution: ExecutionConfig) -> None:
    """Refuse to wait for ever for a GPU that is not there.

    In a running Ray session its resources decide, else this machine, unless a cluster is named.

    Raises:
        ResourceError: if there is none, and none will be added.
    """
    if not execution.use_gpu or execution.autoscaling:
        return
    if session_is_open():
        found, where = _cluster_resources().get("GPU", 0.0), "the Ray cluster"
    elif execution.address is not None:
        return
    else:
        import torch

        found, where = torch.cuda.device_count(), "this machine"
    if not found:
        raise ResourceError(
            "execution.use_gpu needs a GPU",
            f"none on {where}",
            "Add --set execution.use_gpu=false, or name a cluster that has one in execution.address.",
        )


def check_space(experiment: ExperimentConfig) -> SearchSpace:
    """The study's search space, once its extreme values are seen to make valid trials. Needs no Ray.

    Raises:
        ConfigError: if the space is not valid by itself, or not with the experiment's trial, or an objective or
            sampler of the user's own cannot be found.
    """
    metric_directions(experiment.study.objectives)
    space = SearchSpace.parse(experiment.study.space)
    make_sampler(experiment.study.sampler, space, experiment.study.seed)
    # Another dimension may be what makes a value valid: alpha above 1 goes with additive mixing.
    base = next(iter(space.examples("mixing")))
    for field, dimension in space.dimensions.items():
        for value in dimension.extremes():
            values = base | {field: value}
            if isinstance(dimension, ChoiceDimension):
                values.pop(f"{field}_parameters", None)
            config = _trial_config(experiment.trial, values)
            if config.judges != "first" and not experiment.further_judges:
                raise ConfigError(
                    "several judges need several task networks",
                    f"study.space draws judges: {config.judges}, and further_judges names none",
                    "Name the folders of more task networks in further_judges.",
                )
    return space


def resource_problems(experiment: ExperimentConfig, available: dict[str, float]) -> list[str]:
    """What the cluster lacks to run as many trials at a time as the study asks for.

    Args:
        experiment: of the study.
        available: of the cluster: ``{"CPU": 2.0, "GPU": 1.0}``.
    """
    execution, trials = experiment.execution, experiment.study.max_concurrent_trials
    needed = {name: trials * amount for name, amount in tune_resources(execution).items()}
    if has_coordinator(execution):
        for name, amount in worker_resources(execution).items():
            needed[name] = needed.get(name, 0.0) + trials * execution.workers_per_trial * amount
    needed["CPU"] += trials * (execution.simulation_cpus or 0)
    return [
        f"{trials} trials at a time need {amount:g} {name}, the cluster has {available.get(name, 0.0):g}"
        + (
            ": lower study.max_concurrent_trials, execution.cpus_per_worker or execution.simulation_cpus"
            if name == "CPU"
            else ""
        )
        for name, amount in needed.items()
        if amount > available.get(name, 0.0) + 1e-6
    ]


def placement_problems(experiment: ExperimentConfig, nodes: list[dict[str, float]]) -> list[str]:
    """Whether some node has all that one worker of a trial takes; a worker is never spread over nodes.

    Args:
        experiment: of the study.
        nodes: the resources of each.
    """
    needed = worker_resources(experiment.execution)
    if any(all(node.get(name, 0.0) >= amount for name, amount in needed.items()) for node in nodes):
        return []
    wanted = ", ".join(f"{amount:g} {name}" for name, amount in needed.items())
    return [f"a worker needs {wanted} on one node, and no node has them"]


def disk_problems(study: StudyConfig, folder: Path, parameters: int) -> list[str]:
    """Whether the disk holds a checkpoint of every trial, of networks with this many parameters."""
    if is_remote(folder):
        return []  # an object store does not say how much it takes
    needed = study.trials * parameters * _STATES_PER_PARAMETER * _BYTES_PER_STATE + _MARGIN_BYTES
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed <= free:
        return []
    return [f"{study.trials} checkpoints need {needed / 1e9:.1f} GB, {existing} has {free / 1e9:.1f} GB free"]


def _cluster_resources() -> dict[str, float]:
    import ray

    return dict(ray.cluster_resources())


def _try_architectures(
    experiment: ExperimentConfig, inputs: TrialInputs, space: SearchSpace
) -> tuple[int, list[str]]:
    """One training step of each architecture at the data's size: the largest one's parameters, and problems."""
    batch = _small_batch(inputs.feeds["train"])
    largest, problems = 0, []
    for values in space.examples("architecture"):
        try:
            largest = max(largest, _train_one_step(_trial_config(experiment.trial, values), inputs, batch))
        except Exception as error:  # a user's network may raise anything
            problems.append(f"{values.get('architecture', experiment.trial.architecture)}: {error}")
    return largest, problems


def _trial_config(base: TrialConfig, values: dict[str, Any]) -> TrialConfig:
    return TrialTask.from_search(base, {"trial": 0, "folder": "", "values": values}).config


def _train_one_step(config: TrialConfig, inputs: TrialInputs, batch: Batch) -> int:
    task_network, _ = load_task_network(open_folder(inputs.task_network), inputs.trust)
    judges, _ = load_judges(inputs, config)
    training = build_training(
        config, geometry=inputs.geometry, task_network=task_network, further_judges=judges
    )
    training.train_epoch([batch])
    return training.parameter_count


def _small_batch(feed: Feed) -> Batch:
    return next(iter(feed.ordered(_STEP_SAMPLES, share=Share())))
