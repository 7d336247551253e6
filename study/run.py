"""Running a study: Optuna's storage proposes and remembers, Ray Tune executes.

Reads and writes the study folder: ``storage.json``, ``journal.log``, ``trials/0003/`` and ``.tune``,
Ray Tune's own notes of the current run, which nothing reads afterwards. Every call makes a fresh Tuner that
adopts the trials an earlier one left RUNNING, so that continuing, extending and starting are one thing.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune import PlacementGroupFactory

from study.config import StudyConfig
from study.events import OnEvent, ignore
from study.ray_session import ray_session
from study.schedulers.tune_scheduler import StudyScheduler
from study.search.ledger import Ledger
from study.search.records import TrialRecord, best_records, read_records
from study.search.samplers import make_sampler
from study.search.searcher import StudySearcher
from study.search.space import SearchSpace
from study.search.storage import create_study, open_study
from taskct_core.errors import ConfigError
from taskct_core.schema import RUNNING

_TUNE_FOLDER = ".tune"
Trainable = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class StudySummary:
    """How a call of :func:`run_study` ended."""

    folder: Path
    trials: list[TrialRecord]
    front: list[TrialRecord]  # completed, feasible trials that no other dominates
    seconds: float  # of this call
    interrupted: bool  # whether trials were left RUNNING, to be continued by the next call


def run_study(
    config: StudyConfig,
    folder: Path,
    *,
    trainable: Trainable,
    fingerprint: Mapping[str, str],
    max_concurrent: int,
    resources: dict[str, float] | PlacementGroupFactory,
    metric_directions: Mapping[str, str],
    on_event: OnEvent = ignore,
    reuse_actors: bool = False,
) -> StudySummary:
    """Start, continue or extend the study in ``folder`` until every trial has a final state.

    Args:
        config: what is searched and how.
        folder: of the study; shared by all nodes of the cluster.
        trainable: a Ray Tune function; called with ``{"trial": number, "folder": its folder, "values":
            overrides of the trial's configuration}``, it appends each epoch's row to the folder's
            :mod:`study.epoch_log` and then reports it. Started again, it continues from its checkpoint.
        fingerprint: what must not change while the study lives, such as the data's hash, by name.
        max_concurrent: trials that run at a time.
        resources: of one trial.
        metric_directions: column -> ``maximize`` or ``minimize``, for every objective and watched metric.
        on_event: called with every :mod:`study.events` event, in the driver.
        reuse_actors: run trials one after another in the same processes.

    Raises:
        ConfigError: if the search space, an objective or an enqueued point is not valid.
        StudyError: if another driver runs the study, or it was begun with other settings.
    """
    started = time.monotonic()
    folder = folder.resolve()
    space = SearchSpace.parse(config.space)
    directions = [_direction(name, metric_directions) for name in config.objectives]
    study = create_study(folder, config.storage, directions)
    study.sampler = make_sampler(config.sampler, space, config.seed)
    ledger = Ledger(study, folder, space, config.objectives, config.constraints, config.trials)
    ledger.enqueue(config.enqueue)
    if ledger.remaining():
        searcher = StudySearcher(ledger, folder, on_event)
        scheduler = StudyScheduler(searcher, on_event)
        with ray_session():
            _run_tuner(
                tune.with_resources(trainable, resources),
                tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=ledger.remaining(),
                    max_concurrent_trials=max_concurrent,
                    reuse_actors=reuse_actors,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                folder,
                config.max_retries,
            )
    trials = read_records(study)
    interrupted = any(record.status == RUNNING for record in trials)
    return StudySummary(folder, trials, best_records(study), time.monotonic() - started, interrupted)


def load_study(folder: Path) -> optuna.Study:
    """The study in ``folder`` as Optuna sees it; for its trials as plain records see :func:`read_records`.

    Raises:
        StudyError: if there is none.
    """
    return open_study(folder)


def _direction(objective: str, metric_directions: Mapping[str, str]) -> str:
    if objective not in metric_directions:
        valid = ", ".join(metric_directions)
        raise ConfigError(f"an objective must be a known metric column ({valid})", objective, "Correct it.")
    return metric_directions[objective]


def _run_tuner(trainable: Any, tune_config: tune.TuneConfig, folder: Path, max_retries: int) -> None:
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial's reason is in its record
    _remove_tune_folder(folder)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune_config,
        run_config=tune.RunConfig(
            name=_TUNE_FOLDER,
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=max_retries),
            verbose=0,
        ),
    )
    tuner.fit()
    _remove_tune_folder(folder)


def _remove_tune_folder(folder: Path) -> None:
    shutil.rmtree(folder / _TUNE_FOLDER, ignore_errors=True)


def _name(trial: Any) -> str:
    return f"{trial.config['trial']:04d}"
