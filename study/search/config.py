"""The configuration of a search: how many trials, of what, proposed and pruned how."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Positive, StrictModel
from taskct_core.reconstructors.config import ReferenceNetworkConfig
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

# Samplers that learn nothing from trials which they did not propose.
_WITHOUT_PAST = ("random", "qmc", "grid", "nsga2", "nsga3")
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

    name: Annotated[str, name_of("study.search.samplers:SAMPLERS", "sampler", own=True)] = "tpe"
    """How trials are proposed; your own as `package.module:Name`, one of OptunaHub as
    `optunahub:samplers/auto_sampler:AutoSampler`."""
    options: dict[str, Any] = {}
    """Arguments of a sampler that is not built in."""
    startup_trials: Count = 8
    """Random trials before a model-based sampler starts; a generation of nsga2 and nsga3."""
    grid_points: Count = 5
    """`grid` only: values of each range."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.options and ":" not in self.name:
            raise ValueError(
                f"options are of samplers that are not built in, but {self.name} is: {self.options}"
            )
        return self


class PrunerConfig(StrictModel):
    """Which trials are stopped early."""

    name: Annotated[str, name_of("study.search.pruners:PRUNERS", "pruner")] = "none"
    """How poor trials are found out early; `none` stops none."""
    metric: str | None = None
    """`asha` and `median` only: the one column they watch."""
    grace_epochs: Count = 1
    """Epochs that every trial trains before it may be stopped."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One trial in so many goes on from a rung to the next, which has so many times its epochs."""


class BudgetConfig(StrictModel):
    """What a study may spend over all of its drivers; it ends when one of these is used up."""

    trials: Count | None = None
    """Trials that are run, repeats of failed ones included."""
    seconds: Positive | None = None
    """Seconds in which a driver runs it."""
    gpu_hours: Positive | None = None
    """Hours of its trials, times the GPUs that each holds."""
    epochs: Count | None = None
    """Epochs of all trials."""


class RepeatsConfig(StrictModel):
    """How often a configuration is run: a trial is then all of its runs, and its scores are means over patients."""

    folds: Literal["all"] | None = None
    """`all`: on every fold of data.split.folds."""
    seeds: Count = 1
    """With each of so many seeds, from the trial's on."""


class StudyConfig(StrictModel):
    """Many trials under one search."""

    trials: Count = 24
    """How many configurations are tried; a larger number extends a finished study."""
    objectives: list[str] = [PRIMARY_DICE, PRIMARY_PSNR]
    """Metric columns, or "package.module:name" of one's own (docs/study.md)."""
    trainable: str | None = None
    """"package.module:name" of one's own; None: the experiment's trial."""
    sampler: SamplerConfig = SamplerConfig()
    """How the next trial is proposed."""
    pruner: PrunerConfig = PrunerConfig()
    """Which trials are stopped early."""
    repeats: RepeatsConfig = RepeatsConfig()
    """How often each configuration is run."""
    space: dict[str, Any] | str = "search_spaces.default:SPACE"
    """A dict of dimensions (see search_spaces), or `package.module:NAME` of one written in Python."""
    enqueue: list[dict[str, Any]] = []
    """Points tried first. A value that is a list stands for each of its members: {alpha: [0.5, 0.9], seed:
    [0, 1]} are four points. A priority (0 where there is none) tells which begins first, the highest."""
    enqueue_front_of: str | None = None
    """Another study's folder: its front is tried first."""
    warm_start: str | None = None
    """Folder of another study with the same objectives: what it found informs the sampler (tpe, gp) from the start."""
    constraints: dict[str, Positive] = {}
    """Upper bounds of columns, e.g. {parameters: 1.0e6}."""
    max_retries: Annotated[int, Field(ge=0)] = 2
    """How often a failed trial is tried again, from its last checkpoint."""
    max_concurrent_trials: Count = 1
    """How many trials run at a time."""
    budget: BudgetConfig = BudgetConfig()
    """What the study may spend over all of its drivers."""
    timeout: Positive | None = None
    """Seconds: then `study run` stops, and the same command continues."""
    trial_timeout: Positive | None = None
    """Seconds of one attempt at a trial, which then fails."""
    storage: str | None = None
    """Optuna storage URL; None: a journal file in the study folder."""
    references: list[ReferenceNetworkConfig] = []
    """Networks made elsewhere that are scored beside the trials: files of TorchScript or ONNX, or
    `package.module:Name`."""
    tensorboard: bool = True
    """Whether trials' folders hold curves, values and slices for TensorBoard."""
    mlflow: str | None = None
    """Tracking URI of an MLflow server that trials are logged to."""
    wandb: str | None = None
    """Project, or entity/project, of Weights & Biases that trials are logged to."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the sampler."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [name for name in self.objectives if name not in OBJECTIVES and ":" not in name]
        if unknown or not self.objectives:
            nearest = did_you_mean(unknown[0], OBJECTIVES) if unknown else ""
            raise ValueError(
                f"objectives must be metric columns ({', '.join(OBJECTIVES)}); unknown: {unknown}{nearest}"
            )
        for what, names in (
            ("objectives", self.objectives),
            ("names of references", [reference.name for reference in self.references]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ; given twice: {', '.join(twice)}")
        if self.warm_start is not None and self.sampler.name in _WITHOUT_PAST:
            raise ValueError(
                f"warm_start needs a sampler that learns from other trials, such as tpe or gp; {self.sampler.name} does "
                "not (enqueue_front_of begins with the other study's front under any sampler)"
            )
        wrong = [p for point in self.enqueue if type(p := point.get("priority", 0)) is not int]
        if wrong:
            raise ValueError(f"the priority of an entry of enqueue must be a whole number; got {wrong[0]!r}")
        columns = (*OBJECTIVES, *COSTS, *self.objectives)
        unknown = [name for name in self.constraints if name not in columns]
        if unknown:
            raise ValueError(
                f"constraints must be on columns of an epoch ({', '.join(columns)}); unknown: {unknown}"
                f"{did_you_mean(unknown[0], columns)}"
            )
        return self
