"""Changing a study that runs, or will run again: trials at a time, its pruner, single trials paused and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.config import ExperimentConfig, apply_override
from study.search.config import PrunerConfig, StudyConfig
from study.search.control import Control, change_control
from study.search.pruners import make_pruner
from study.search.storage.opening import open_study
from study.search.storage.records import read_records
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError
from taskct_core.registry import did_you_mean
from taskct_core.schema import OBJECTIVES, RUNNING

_SETTINGS = ("concurrent", "pruner")


def change_settings(folder: Path, settings: list[str]) -> Control:
    """Change how many trials run at a time, or the pruner.

    Args:
        folder: of the study.
        settings: ``concurrent=3``, ``pruner=asha``, ``pruner.grace_epochs=2``, values as YAML; ``null`` is what the
            study's configuration says.

    Returns:
        What holds now.

    Raises:
        ConfigError: if a setting is not known or not valid.
        StudyError: if ``folder`` holds no study.
    """
    given, directions = _configuration(folder)

    def change(control: Control) -> Control:
        values = control.model_dump()
        for setting in settings:
            _apply(values, setting, given.pruner)
        changed = Control.parse(values)
        if changed.pruner is not None:
            make_pruner(_with_pruner(folder, given, changed.pruner), directions)
        return changed

    return change_control(folder, change)


def pause_trials(folder: Path, trials: list[int]) -> Control:
    """Let trials stop at the end of their epochs, until they are resumed.

    Raises:
        ConfigError: if one of them does not run.
        StudyError: if ``folder`` holds no study.
    """
    status = {record.trial: record.status for record in read_records(open_study(folder))}
    for trial in trials:
        if status.get(trial) != RUNNING:
            raise ConfigError(
                "only a trial that has begun and not ended can be paused",
                f"trial {trial}, which is {status.get(trial, 'not there')}",
                "`taskct study status` shows those that run.",
            )
    return change_control(folder, lambda control: _paused(control, {*control.paused, *trials}))


def resume_trials(folder: Path, trials: list[int]) -> Control:
    """Let paused trials go on.

    Raises:
        ConfigError: if one of them is not paused.
        StudyError: if ``folder`` holds no study.
    """
    open_study(folder)

    def change(control: Control) -> Control:
        for trial in trials:
            if trial not in control.paused:
                known = ", ".join(map(str, control.paused)) or "none"
                raise ConfigError(
                    "only a paused trial can be resumed", f"trial {trial}", f"These are paused: {known}."
                )
        return _paused(control, set(control.paused) - set(trials))

    return change_control(folder, change)


def _paused(control: Control, trials: set[int]) -> Control:
    return control.model_copy(update={"paused": sorted(trials)})


def _apply(values: dict[str, Any], setting: str, pruner: PrunerConfig) -> None:
    """Put one setting into the values of a control; keys of the pruner that it leaves out stay."""
    path, separator, _ = setting.partition("=")
    name = path.partition(".")[0].strip()
    if not separator or name not in _SETTINGS or (name == "concurrent" and "." in path):
        raise ConfigError(
            f"what can be set of a running study is {' and '.join(f'{known}=VALUE' for known in _SETTINGS)}",
            repr(setting) + did_you_mean(name, _SETTINGS),
            "Example: taskct study set DIR concurrent=3 pruner=pareto_asha pruner.grace_epochs=2",
        )
    if name == "pruner" and values["pruner"] is None:
        values["pruner"] = pruner.model_dump()
    kept = values[name]
    apply_override(values, setting)
    if name == "pruner" and isinstance(values["pruner"], str):
        values["pruner"] = kept | {"name": values["pruner"]}


def _configuration(folder: Path) -> tuple[StudyConfig, dict[str, str]]:
    """What the study began with, and every column's direction."""
    study = open_study(folder)
    ways = [way.name.lower() for way in study.directions]
    own = dict(zip(study.metric_names or [], ways, strict=False))
    directions = {name: str(metric.direction) for name, metric in OBJECTIVES.items()} | own
    experiment = _experiment(folder)
    if experiment is not None:
        return experiment.study, directions
    return StudyConfig.parse({"objectives": list(own)} if own else {}), directions


def _with_pruner(folder: Path, given: StudyConfig, pruner: PrunerConfig) -> StudyConfig:
    """The study's configuration with another pruner, checked as a whole."""
    experiment = _experiment(folder)
    if experiment is None:
        return given.model_copy(update={"pruner": pruner})
    values = experiment.model_dump()
    values["study"]["pruner"] = pruner.model_dump()
    return ExperimentConfig.parse(values).study


def _experiment(folder: Path) -> ExperimentConfig | None:
    """Of a study that the command line began; None of one that was begun from Python."""
    card = StudyFolder(folder).card
    return ExperimentConfig.parse(StudyCard.read(card).config) if card.is_file() else None
