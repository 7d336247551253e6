"""The configuration of a search: how many trials, of what, proposed and pruned how."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Positive, StrictModel
from taskct_core.registry import did_you_mean, name_of
from taskct_core.schema import (
    OBJECTIVES,
    PARAMETERS,
    PEAK_MEMORY_MB,
    PRIMARY_DICE,
    PRIMARY_PSNR,
    SECONDS,
    SECONDS_PER_SLICE,
)

COSTS = (PARAMETERS, SECONDS, SECONDS_PER_SLICE, PEAK_MEMORY_MB)  # columns that only constraints look at


def points_of(enqueue: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every point that the entries of ``enqueue`` stand for; of an entry with lists the first key varies slowest."""
    return [
        dict(zip(entry, values, strict=True))
        for entry in enqueue
        for values in itertools.product(
            *(value if isinstance(value, list) else [value] for value in entry.values())
        )
    ]


class SamplerConfig(StrictModel):
    """How the next trial is proposed."""

    name: Annotated[str, name_of("study.search.samplers:SAMPLERS", "sampler")] = "tpe"
    # Random trials before a model-based sampler starts; a generation of nsga2 and nsga3.
    startup_trials: Count = 8
    grid_points: Count = 5  # grid only: values of each range


class PrunerConfig(StrictModel):
    """Which trials are stopped early."""

    name: Annotated[str, name_of("study.search.pruners:PRUNERS", "pruner")] = "none"
    metric: str | None = None  # asha and median: the one column they watch
    grace_epochs: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class BudgetConfig(StrictModel):
    """What a study may spend over all of its drivers; it ends when one of these is used up."""

    trials: Count | None = None  # that are run, repeats of failed ones included
    seconds: Positive | None = None  # in which a driver runs it
    gpu_hours: Positive | None = None  # hours of its trials, times the GPUs that each holds
    epochs: Count | None = None  # of all trials


class RepeatsConfig(StrictModel):
    """How often a configuration is run: a trial is then all of its runs, and its scores are means over patients."""

    folds: Literal["all"] | None = None  # on every fold of data.split.folds
    seeds: Count = 1  # with each of so many seeds, from the trial's on


class StudyConfig(StrictModel):
    """Many trials under one search."""

    trials: Count = 24
    # Metric columns, or "package.module:name" of one's own (docs/study.md).
    objectives: list[str] = [PRIMARY_DICE, PRIMARY_PSNR]
    trainable: str | None = None  # "package.module:name" of one's own; None: the experiment's trial
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    # A dict of dimensions (see search_spaces), or "package.module:NAME" of one written in Python.
    repeats: RepeatsConfig = RepeatsConfig()
    space: dict[str, Any] | str = "search_spaces.default:SPACE"
    # Points tried first. A value that is a list stands for each of its members: {alpha: [0.5, 0.9], seed: [0, 1]} are
    # four points.
    enqueue: list[dict[str, Any]] = []
    enqueue_front_of: str | None = None  # another study's folder: its front is tried first
    constraints: dict[str, Positive] = {}  # column -> upper bound, e.g. {parameters: 1.0e6}
    max_retries: Annotated[int, Field(ge=0)] = 2  # of a failed trial, from its last checkpoint
    max_concurrent_trials: Count = 1
    budget: BudgetConfig = BudgetConfig()
    timeout: Positive | None = None  # seconds: then `study run` stops, and the same command continues
    trial_timeout: Positive | None = None  # seconds of one attempt at a trial, which then fails
    storage: str | None = None  # Optuna storage URL; None: a journal file in the study folder
    mlflow: str | None = None  # tracking URI of an MLflow server that trials are logged to
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [name for name in self.objectives if name not in OBJECTIVES and ":" not in name]
        if unknown or not self.objectives:
            nearest = did_you_mean(unknown[0], OBJECTIVES) if unknown else ""
            raise ValueError(
                f"objectives must be metric columns ({', '.join(OBJECTIVES)}); unknown: {unknown}{nearest}"
            )
        twice = sorted({name for name in self.objectives if self.objectives.count(name) > 1})
        if twice:
            raise ValueError(f"objectives must differ; given twice: {', '.join(twice)}")
        columns = (*OBJECTIVES, *COSTS, *self.objectives)
        unknown = [name for name in self.constraints if name not in columns]
        if unknown:
            raise ValueError(
                f"constraints must be on columns of an epoch ({', '.join(columns)}); unknown: {unknown}"
                f"{did_you_mean(unknown[0], columns)}"
            )
        return self
