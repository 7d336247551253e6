"""Makes a study's lost storage again from what its trials left in their folders.

Reads ``study.json`` and, for every trial, ``config.yaml``, ``metrics.jsonl`` and ``final.json``; writes ``storage.json``
and the storage. A trial is finished if it scored itself at its end (``final.json``), and then judged by its epoch log
as always; any other is left RUNNING, so that the next ``study run`` continues it and decides again whether it is
pruned. What only the lost storage knew is gone: why trials were pruned or failed, how long they took, the sampler's
own notes. A trial whose configuration cannot be read is set aside and run anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial
from typing_extensions import override

from study.config import ExperimentConfig
from study.experiment.search import study_fingerprint
from study.search.conductor import Conductor
from study.search.config import points_of
from study.search.judgement import Judge
from study.search.lock import study_lock
from study.search.samplers.points import PointSampler
from study.search.space import SearchSpace
from study.search.space.dimensions import ChoiceDimension
from study.search.storage.fingerprint import check_fingerprint, search_fingerprint
from study.search.storage.opening import name_objectives, reopen_or_begin, storage_errors, unknown_trials
from study.search.storage.queue import enqueue_matching
from study.search.storage.records import REBUILT, VALUES, read_records
from study.search.trial_state import Rules
from study.trials import epoch_log
from study.trials.trial_config import read_trial_config
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import DataError, StudyError, TaskctError
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.schema import COMPLETE, EPOCH, FAIL, RUNNING
from taskct_core.training.config import TrialConfig

_UNREADABLE = "unreadable"
_BUILT_IN_SPACES = ("search_spaces.default:SPACE", "search_spaces.wide:SPACE")


@dataclass(frozen=True)
class Rebuilt:
    """What became of the trials' folders."""

    finished: list[int]  # judged by their logs, COMPLETE or FAIL
    left_running: list[int]  # continued, or run for want of a folder, by the next `study run`
    set_aside: dict[int, str]  # trial -> why its folder was moved to trials/0003.unreadable


@dataclass(frozen=True)
class _Origin:
    """What study.json tells of the study."""

    experiment: ExperimentConfig
    directions: dict[str, str]  # objective -> maximize or minimize
    data_hash: str
    network_hash: str
    has_bases: bool

    def fingerprint(self, space: SearchSpace) -> dict[str, str]:
        return {
            **search_fingerprint(self.experiment.study, space, self.directions),
            **study_fingerprint(self.experiment, self.data_hash, self.network_hash, self.has_bases),
        }


@dataclass(frozen=True)
class _Known:
    """A trial as its folder tells it."""

    values: dict[str, Any]
    parameters: dict[str, Any]
    is_finished: bool


class _Recorded(PointSampler):
    """Gives every trial the parameters that its folder tells of."""

    @override
    def _place(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return trial.number


def rebuild_study(folder: Path, trust: Trust = BUILT_IN_ONLY) -> Rebuilt:
    """Put the trials of ``folder`` that its storage does not know into it; make the storage if it is gone.

    Raises:
        StudyError: if study.json is missing, or a driver runs the study.
        ConfigError: if study.json is that of an experiment which this version cannot read, or names a search space
            written in Python that is not trusted.
    """
    folder = folder.resolve()
    origin = _read_origin(folder, trust)
    experiment = origin.experiment
    space = SearchSpace.parse(experiment.study.space)
    with storage_errors(folder), study_lock(folder):
        study = reopen_or_begin(folder, experiment.study.storage, list(origin.directions.values()))
        check_fingerprint(study, origin.fingerprint(space))
        name_objectives(study, experiment.study.objectives)
        known, set_aside = _read_trials(folder, unknown_trials(study, folder), experiment, space)
        _enter(study, folder, experiment, space, known)
        records = read_records(study)
    return Rebuilt(
        [record.trial for record in records if record.trial in known and record.status in (COMPLETE, FAIL)],
        [record.trial for record in records if record.status == RUNNING],
        set_aside,
    )


def _enter(
    study: optuna.Study,
    folder: Path,
    experiment: ExperimentConfig,
    space: SearchSpace,
    known: dict[int, _Known],
) -> None:
    """Begin every trial again under its number, with its own parameters, and judge those that are finished."""
    config = experiment.study
    study.sampler = _Recorded({number: trial.parameters for number, trial in known.items()})
    missing = set(known)
    while missing:
        following = len(study.get_trials(deepcopy=False))
        if following in known:
            enqueue_matching(study, space, points_of(config.enqueue), known[following].values)
        trial = study.ask()
        trial.set_user_attr(REBUILT, True)
        if trial.number not in known:
            continue  # without a folder: the next driver adopts it and draws its parameters
        missing.discard(trial.number)
        space.suggest(trial)
        trial.set_user_attr(VALUES, known[trial.number].values)  # exactly as they were, whatever was rounded
    rules = Rules(Judge(config.objectives, config.constraints), trials=0)
    conductor = Conductor(study, StudyFolder(folder), space, rules)
    for number in known:
        if known[number].is_finished:
            conductor.complete(number)


def _read_origin(folder: Path, trust: Trust) -> _Origin:
    path = StudyFolder(folder).card
    try:
        card = StudyCard.read(path)
        hashes = card.dataset["data_hash"], card.task_network["content_hash"]
    except (OSError, LookupError, DataError) as error:
        raise StudyError(
            f"{StudyFolder.card} must tell of which experiment the trials are",
            f"{path} ({type(error).__name__}: {error})",
            "Restore it from a backup, or begin anew with another output.",
        ) from None
    experiment = ExperimentConfig.parse(card.config)
    if isinstance(experiment.study.space, str):
        trust.require(experiment.study.space, _BUILT_IN_SPACES, "search space", path)
    return _Origin(experiment, dict(card.directions), *hashes, bool(card.dataset.get("has_bases")))


def _read_trials(
    folder: Path, numbers: list[int], experiment: ExperimentConfig, space: SearchSpace
) -> tuple[dict[int, _Known], dict[int, str]]:
    known, set_aside = {}, {}
    for number in numbers:
        try:
            known[number] = _read_trial(StudyFolder(folder).trial(number), experiment, space)
        except (TaskctError, yaml.YAMLError, OSError, ValueError) as error:
            set_aside[number] = str(error)
            source = StudyFolder(folder).trial(number).path
            source.rename(source.with_name(f"{source.name}.{_UNREADABLE}"))
    return known, set_aside


def _read_trial(folder: TrialFolder, experiment: ExperimentConfig, space: SearchSpace) -> _Known:
    config = read_trial_config(folder, Trust(everything=True))  # nothing that it names is imported here
    values = _searched_values(config, space)
    rows = epoch_log.read(folder)
    if experiment.study.trainable is None:
        is_finished = bool(rows) and folder.final.is_file()
    else:  # one's own need not leave more than its log
        is_finished = bool(rows) and rows[-1][EPOCH] >= config.epochs
    parameters = space.parameters_of(values)
    try:
        space.values_of(parameters)
    except KeyError as error:
        raise DataError(
            f"{TrialFolder.config} must hold every value that the search gave the trial",
            f"{folder.config} without {error}",
            "Restore it from a copy before the study is rebuilt; else the trial is run anew.",
        ) from None
    return _Known(values, parameters, is_finished)


def _searched_values(config: TrialConfig, space: SearchSpace) -> dict[str, Any]:
    """The part of a trial's configuration that the search gave it."""
    settings = config.model_dump(mode="json")
    values = {}
    for field, dimension in space.dimensions.items():
        values[field] = settings[field]
        if isinstance(dimension, ChoiceDimension) and isinstance(dimension.values, dict):
            values[f"{field}_parameters"] = settings[f"{field}_parameters"]
    return values
