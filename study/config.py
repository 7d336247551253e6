"""One YAML = one experiment: the typed tree of everything ``taskct`` runs, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from study.search.config import PrunerConfig, SamplerConfig, StudyConfig
from study.trials.config import ExecutionConfig
from taskct_core.config import Count, Positive, SimulationConfig, StrictModel, TaskNetworkConfig, TrialConfig
from taskct_core.contracts.yaml_loader import parse_yaml
from taskct_core.errors import ConfigError
from taskct_core.redaction import all_redacted
from taskct_core.registry import Trust, load, name_of
from taskct_core.schema import SPLITS

__all__ = [
    "DataConfig",
    "ExecutionConfig",
    "ExperimentConfig",
    "PrunerConfig",
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

SplitName = Annotated[str, name_of("taskct_core.schema:SPLITS", "split")]
Axes = Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")]  # where three axes grow to, e.g. LPS
SpacingMm = tuple[Positive, Positive, Positive]  # slice, row, column
SHARES_TOLERANCE = 1e-6
Structure = Literal["liver", "tumour"]


class SourceConfig(StrictModel):
    """Where volumes come from."""

    # phantom, lits, nifti, dicom, or "package.module:Name" of one's own.
    kind: Annotated[str, name_of("taskct_core.volumes:SOURCE_KINDS", "kind of source", own=True)] = "phantom"
    path: str | None = None  # folder of the volumes; not for the phantom
    # For files whose header tells wrong directions or none: where the stored voxel axes grow to, e.g. LPS; for all
    # patients, or for patterns of their names: {"volume-28..47": LPS, "b*": RAS}.
    orientation: Axes | dict[str, Axes] | None = None
    # For files whose header tells the wrong spacing: slice, row, column; for all patients, or for patterns.
    spacing_mm: SpacingMm | dict[str, SpacingMm] | None = None
    images: str = "imagesTr/*.nii.gz"  # nifti only: the images below path; * is the patient's {name}
    # nifti only: an image's labels, e.g. "labelsTr/{name}.nii.gz", or one mask for each structure.
    labels: str | dict[Structure, str] | None = None
    # Numbers in label files -> liver or tumour, others are background; None: 1 and 2, and no others.
    classes: dict[int, Structure] | None = None
    unlabelled: bool = (
        False  # take patients without labels, too: they train the image loss and are never scored
    )
    # dicom: folders whose headers name the same patient stay in one split. False: the headers' IDs mean nothing.
    trust_patient_id: bool = True
    parameters: dict[str, Any] = {}  # of a source of one's own
    patients: Count = 12  # phantom only: how many to make
    slices_per_patient: Count = 12  # phantom only
    pixels: Annotated[int, Field(ge=32)] = 256  # phantom only: height and width
    seed: Annotated[int, Field(ge=0)] = 0  # phantom only

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "phantom" and ":" not in self.kind and self.path is None:
            raise ValueError(f"source.path must name the folder of {self.kind} volumes")
        return self

    def keywords(self) -> dict[str, Any]:
        """What ``taskct_core.volumes.list_patients`` takes."""
        return self.model_dump(exclude={"trust_patient_id"})


class SliceConfig(StrictModel):
    """Which slices of a volume become samples."""

    only_with_liver: bool = True
    every: Count = 1  # keep each n-th of them


class SyntheticLesionConfig(StrictModel):
    """Lesions put into labelled livers, for training where patients with tumours are few."""

    # Splits whose patients get them; none: real tumours alone.
    splits: list[SplitName] = []
    draws: Count = 1  # how often a patient is used, each time with other lesions
    seed: Annotated[int, Field(ge=0)] = 0


class DataConfig(StrictModel):
    """Volumes, their split by patient, and which slices are simulated."""

    source: SourceConfig = SourceConfig()
    # Either shares of the patients or the patients' names, for each split.
    split: dict[SplitName, float | list[str]] = {
        "train": 0.6,
        "validation": 0.2,
        "test": 0.2,
    }
    slices: SliceConfig = SliceConfig()
    synthetic_lesions: SyntheticLesionConfig = SyntheticLesionConfig()
    rows_per_shard: Count = 64

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = [name for name in SPLITS if name not in self.split]
        if missing:
            raise ValueError(f"split must name {', '.join(SPLITS)}; missing {', '.join(missing)}")
        if len({isinstance(value, list) for value in self.split.values()}) > 1:
            raise ValueError("split must give shares for all or patient lists for all")
        shares = [value for value in self.split.values() if not isinstance(value, list)]
        if shares and abs(sum(shares) - 1) > SHARES_TOLERANCE:
            raise ValueError(f"the shares of split must add up to 1, but add up to {sum(shares):g}")
        return self


class ExperimentConfig(StrictModel):
    """Everything one YAML file says."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "experiment"
    output: str = "runs"  # results go to <output>/<name>; a path or any fsspec URL
    dataset: str | None = None  # folder of a dataset made before; None: this experiment's own
    pretrained: str | None = None  # folder of a task network made before; None: this experiment's own
    data: DataConfig = DataConfig()
    simulation: SimulationConfig = SimulationConfig()
    task_network: TaskNetworkConfig = TaskNetworkConfig()
    trial: TrialConfig = TrialConfig()
    study: StudyConfig = StudyConfig()
    execution: ExecutionConfig = ExecutionConfig()
    # Whether plug-ins that a folder's files name may be imported (--trust). Not recorded with the study: who reads
    # that is to decide anew.
    trust: bool = Field(default=False, exclude=True)


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
        experiment.trial.model_dump(),
        experiment.study.objectives,
        load(space, {}, "search space") if isinstance(space, str) else space,
    ]
    return Trust(frozenset(_names_in(named)), experiment.trust)


def _names_in(values: Any) -> Iterator[str]:
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
            "a configuration must be an existing YAML file", str(path), "See configs/ for ready ones."
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
        raise ConfigError("a configuration must be a YAML mapping", f"{path}: {values!r}", "See configs/.")
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
