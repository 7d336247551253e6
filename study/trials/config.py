"""The configuration of what trials run on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from taskct_core.config import Count, Positive, StrictModel


class ExecutionConfig(StrictModel):
    """What trials run on."""

    executor: Literal["train", "actor"] = "train"
    workers_per_trial: Count = 1
    cpus_per_worker: Positive = 1
    use_gpu: bool = False
    gpus_per_worker: Positive = 1  # a fraction shares one GPU; only with one worker a trial
    threads_per_worker: Count = 1
    # Trials trained as one on one device, where they share architecture and batch size (docs/front.md); 1: each alone.
    stack: Count = 1
    # auto: samples are read into the object store once if they fit, else streamed from the shards.
    data_path: Literal["auto", "memory", "stream"] = "auto"
    # That fresh training samples of one trial are simulated on, beside those that train; 0: a thread of the training
    # process does it. None: with GPUs, those that trials leave free; else 0.
    simulation_cpus: Annotated[int, Field(ge=0)] | None = None
    address: str | None = None  # of a running Ray cluster; None: start Ray on this machine
    start_timeout: Positive = (
        180  # seconds for each part of Ray to start or to answer; a loaded machine needs more
    )
    # A custom resource of the nodes that are not preempted: what coordinates a trial stays on them.
    driver_resource: Annotated[str, Field(min_length=1)] | None = None
    # Whether the cluster adds nodes when trials wait for them: what it has at the start is then no limit.
    autoscaling: bool = False
