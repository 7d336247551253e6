"""The configuration of what trials run on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from taskct_core.config import Count, Positive, StrictModel


class ExecutionConfig(StrictModel):
    """What trials run on."""

    executor: Literal["train", "actor"] = "train"
    """`train`: a Ray Train worker group for each trial; `actor`: a plain Ray actor, for one worker."""
    workers_per_trial: Count = 1
    """Processes that train one trial together."""
    cpus_per_worker: Positive = 1
    """CPUs that Ray keeps for each of them."""
    use_gpu: bool = False
    """Whether workers get a GPU."""
    gpus_per_worker: Positive = 1
    """With `use_gpu`; a fraction shares one GPU; only with one worker a trial."""
    threads_per_worker: Count = 1
    """Threads of PyTorch in each worker."""
    stack: Count = 1
    """Trials trained as one on one device, where they share architecture and batch size (docs/front.md); 1:
    each alone."""
    data_path: Literal["auto", "memory", "stream"] = "auto"
    """`auto`: samples are read into the object store once if they fit, else streamed from the shards."""
    simulation_cpus: Annotated[int, Field(ge=0)] | None = None
    """CPUs that fresh training samples of one trial are simulated on, beside those that train; 0: a thread of the
    training process does it. None: with GPUs, those that trials leave free; else 0."""
    address: str | None = None
    """Address of a running Ray cluster; None: start Ray on this machine."""
    start_timeout: Positive = 180
    """Seconds for each part of Ray to start or to answer; a loaded machine needs more."""
    driver_resource: Annotated[str, Field(min_length=1)] | None = None
    """A custom resource of the nodes that are not preempted: what coordinates a trial stays on them."""
    preemption_notice: Annotated[str, Field(min_length=1)] | None = None
    """Path of a file that a node has when it is about to be taken away: its trials then move after their epoch."""
    autoscaling: bool = False
    """Whether the cluster adds nodes when trials wait for them: what it has at the start is then no limit."""
