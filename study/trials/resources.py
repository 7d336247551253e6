"""What a trial takes of the cluster."""

from __future__ import annotations

from study.trials.config import ExecutionConfig

# Of the Tune function that only waits for its Ray Train workers; Ray refuses 0 CPUs.
_MANAGER_CPUS = 0.01
_DRIVER_SHARE = 0.001  # of the resource that keeps coordinators off preemptible nodes


def tune_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What Ray Tune reserves for one trial; Ray Train reserves its workers by itself.

    A trial of several workers has a coordinator, which ``execution.driver_resource`` keeps off preemptible nodes; one
    of a single worker coordinates nothing and goes wherever there is room.
    """
    if has_coordinator(execution):
        return {"CPU": _MANAGER_CPUS, **driver_resources(execution)}
    return worker_resources(execution)


def has_coordinator(execution: ExecutionConfig) -> bool:
    """Whether a trial is a process that waits for its workers, rather than the one that trains."""
    return execution.executor == "train" and execution.workers_per_trial > 1


def driver_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What keeps a driver or a trial's coordinator on nodes that are not preempted."""
    return {execution.driver_resource: _DRIVER_SHARE} if execution.driver_resource else {}


def worker_resources(execution: ExecutionConfig) -> dict[str, float]:
    """What one worker of a trial takes."""
    resources = {"CPU": float(execution.cpus_per_worker)}
    if execution.use_gpu:
        resources["GPU"] = float(execution.gpus_per_worker)
    return resources


def gpus_per_trial(execution: ExecutionConfig) -> float:
    """How many GPUs one trial holds; those of a stack share one worker's."""
    if not execution.use_gpu:
        return 0.0
    return execution.workers_per_trial * execution.gpus_per_worker / execution.stack


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
