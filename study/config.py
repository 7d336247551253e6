"""One YAML = one experiment: the typed tree of everything ``taskct`` runs, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, model_validator

from study.data.config import DataConfig, DatasetSettings, SliceConfig, SourceConfig, SyntheticLesionConfig
from study.search.config import PrunerConfig, RepeatsConfig, SamplerConfig, StudyConfig
from study.trials.config import ExecutionConfig
from taskct_core.contracts.yaml_loader import parse_yaml
from taskct_core.errors import ConfigError
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.redaction import all_redacted
from taskct_core.registry import Trust, load
from taskct_core.schema import HYPERVOLUME, IMAGE_QUALITY_METRICS
from taskct_core.simulation.config import SimulationConfig
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig

__all__ = [
    "DataConfig",
    "ExecutionConfig",
    "ExperimentConfig",
    "ImageQualityConfig",
    "PrunerConfig",
    "RepeatsConfig",
    "SamplerConfig",
    "SimulationConfig",
    "SliceConfig",
    "SourceConfig",
    "StudyConfig",
    "SyntheticLesionConfig",
    "TaskNetworkConfig",
    "TrialConfig",
    "load_experiment",
    "recorded",
    "trust_of",
]


class ExperimentConfig(DatasetSettings):
    """Everything one YAML file says."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "experiment"
    """Of the experiment, and of its folder below `output`."""
    output: str = "runs"
    """Results go to `<output>/<name>`: a path or any fsspec URL."""
    dataset: str | None = None
    """Folder of a dataset made before; None: this experiment's own."""
    pretrained: str | None = None
    """Folder of a task network made before; None: this experiment's own."""
    further_judges: list[str] = []
    """Folders of more task networks, which judge beside the first in training where trial.judges says so."""
    audit: str | None = None
    """Folder of a second task network, which takes no part and judges beside the first."""
    task_network: TaskNetworkConfig = TaskNetworkConfig()
    """The segmentation network that judges, and its pre-training."""
    trial: TrialConfig = TrialConfig()
    """One configuration: what `taskct train` trains, and where a search starts from."""
    study: StudyConfig = StudyConfig()
    """The search."""
    image_quality: ImageQualityConfig = ImageQualityConfig()
    """Task-based image quality, measured on inserted lesions."""
    execution: ExecutionConfig = ExecutionConfig()
    """What trials run on."""
    trust: bool = Field(default=False, exclude=True)
    """Whether plug-ins that a folder's files name may be imported (`--trust`). Not recorded with the study:
    who reads that is to decide anew."""

    @model_validator(mode="after")
    def _check_repeats(self) -> Self:
        folds, repeats = self.data.folds, self.study.repeats
        if folds is not None and self.dataset is None and self.pretrained is None:
            raise ValueError(
                "data.split.folds tests every patient, so the task network must come from others: name its folder in "
                "pretrained"
            )
        if repeats.folds is not None and folds is None:
            raise ValueError("study.repeats.folds needs data.split: {folds: N}")
        repeated = repeats.folds is not None or repeats.seeds > 1
        if repeated and HYPERVOLUME in self.study.objectives:
            raise ValueError(f"study.repeats gives means over patients, which {HYPERVOLUME} has none of")
        if repeated and self.execution.stack > 1:
            raise ValueError("study.repeats runs a configuration one run at a time: set execution.stack to 1")
        if self.study.trainable is not None and repeated:
            raise ValueError("study.repeats repeats the experiment's own trial, not a study.trainable")
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.study.budget.gpu_hours is not None and not self.execution.use_gpu:
            raise ValueError(
                "study.budget.gpu_hours needs execution.use_gpu: true; without GPUs none are spent"
            )
        return self

    @model_validator(mode="after")
    def _check_judges(self) -> Self:
        if self.trial.judges != "first" and not self.further_judges:
            raise ValueError(
                f"trial.judges: {self.trial.judges} needs more task networks than one: name their folders in further_judges"
            )
        return self

    @model_validator(mode="after")
    def _check_image_quality(self) -> Self:
        asked = [
            *self.study.objectives,
            *self.study.constraints,
            self.trial.keep_metric,
            self.study.pruner.metric,
        ]
        measured = [name for name in asked if name in IMAGE_QUALITY_METRICS]
        if measured and not self.image_quality.backgrounds:
            raise ValueError(
                f"{measured[0]} is measured on inserted lesions: set image_quality.backgrounds to the places they get, "
                "such as 40"
            )
        return self


def load_experiment(
    path: Path, overrides: list[str] | None = None, *, trust: bool = False
) -> ExperimentConfig:
    """Read an experiment's YAML file and apply ``a.b=value`` overrides, whose values are YAML too.

    Args:
        path: of the file.
        overrides: ``a.b=value``, as ``--set`` takes them.
        trust: whether plug-ins that a folder's files name may be imported.

    Raises:
        ConfigError: if the file is missing or no YAML mapping, or any key or value is invalid.
    """
    values = _read_yaml(path)
    for override in overrides or []:
        apply_override(values, override)
    if trust:
        values["trust"] = True
    return ExperimentConfig.parse(values)


def recorded(experiment: ExperimentConfig) -> dict[str, Any]:
    """The experiment as a study's files keep it: plain values, without the passwords of its URLs."""
    values: dict[str, Any] = all_redacted(json.loads(experiment.model_dump_json()))
    return values


def trust_of(experiment: ExperimentConfig) -> Trust:
    """Which names the files of a folder may have imported: those that the experiment itself names.

    Raises:
        ConfigError: if a search space written in Python cannot be imported.
    """
    space = experiment.study.space
    named = [
        experiment.task_network.architecture,
        experiment.simulation.ray_transform,
        experiment.trial.model_dump(),
        experiment.study.objectives,
        load(space, {}, "search space") if isinstance(space, str) else space,
    ]
    return Trust(frozenset(_names_in(named)), experiment.trust)


def _names_in(values: object) -> Iterator[str]:
    """Every name in plain values: texts, keys included, and the terms of a mix of losses."""
    if isinstance(values, str):
        yield from (term.rpartition("*")[2].strip() for term in values.split("+"))
    elif isinstance(values, dict):
        yield from (name for item in (*values.keys(), *values.values()) for name in _names_in(item))
    elif isinstance(values, list | tuple):
        yield from (name for item in values for name in _names_in(item))


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            "a configuration must be an existing YAML file", str(path), "Write one with `taskct init NAME`."
        )
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            "a configuration must be valid YAML", f"{path}: {error}", "Mend that line."
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            "a configuration must be a YAML mapping",
            f"{path}: {values!r}",
            "Compare with what `taskct init NAME` writes.",
        )
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one ``a.b=value`` in nested values.

    Raises:
        ConfigError: if it reads otherwise.
    """
    path, separator, text = override.partition("=")
    *parents, key = path.strip().split(".")
    if not separator or not all((*parents, key)):
        raise ConfigError("an override must read a.b=value", repr(override), "Example: --set trial.alpha=0.5")
    for parent in parents:
        if values.get(parent) is None:  # absent, or a section without keys
            values[parent] = {}
        values = values[parent]
        if not isinstance(values, dict):
            raise ConfigError(
                "an override must name a nested key", repr(override), f"'{parent}' has no keys."
            )
    try:
        values[key] = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError("an override's value must be YAML", f"{override!r}: {error}", "Quote it.") from None
