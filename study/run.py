"""Running a study: Optuna's storage proposes and remembers, Ray Tune executes.

Reads and writes the study folder: ``storage.json``, ``journal.log``, ``trials/0003/`` and ``.tune``,
Ray Tune's own notes of the current run, which nothing reads afterwards. Every call makes a fresh Tuner that
adopts the trials an earlier one left RUNNING, so that continuing, extending and starting are one thing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune import PlacementGroupFactory

from study.cluster.ray_session import ray_session
from study.config import StudyConfig
from study.monitor.events import OnEvent, both, ignore
from study.monitor.mlflow_log import with_mlflow
from study.monitor.tensorboard import TensorBoardLog
from study.schedulers import make_pruner
from study.schedulers.tune_scheduler import StudyScheduler
from study.search.fingerprint import check_fingerprint, check_objectives, search_fingerprint
from study.search.ledger import Ledger
from study.search.lock import study_lock
from study.search.node_watch import NodeWatch
from study.search.queue import enqueue_failed, enqueue_points, front_of
from study.search.records import PLAN, TrialRecord, best_records, read_records
from study.search.samplers import make_sampler
from study.search.searcher import StudySearcher
from study.search.space import SearchSpace
from study.search.storage import create_study, name_objectives, open_study, read_card, storage_errors
from study.trials.failures import report_fatal_errors
from study.trials.plugins import metric_directions as known_directions
from taskct_core.contracts.files import open_folder, scratch_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import RUNNING

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
    metric_directions: Mapping[str, str] | None = None,
    epochs: int | None = None,
    reports_wait: bool = True,
    on_event: OnEvent = ignore,
    on_open: Callable[[], None] = lambda: None,
) -> StudySummary:
    """Start, continue or extend the study in ``folder`` until every trial has a final state.

    Args:
        config: what is searched and how.
        folder: of the study; shared by all nodes of the cluster, or remote (see :mod:`taskct_core.contracts.files`).
        trainable: a Ray Tune function; called with ``{"trial": number, "folder": its folder, "values":
            overrides of the trial's configuration}``, it appends each epoch's row to the folder's
            :mod:`study.trials.epoch_log` and then reports it. Started again, it continues from its checkpoint.
        fingerprint: what must not change while the study lives, such as the data's hash, by name.
        max_concurrent: trials that run at a time.
        resources: of one trial.
        metric_directions: column -> ``maximize`` or ``minimize``, for every objective and watched metric; by default
            those of the platform's metrics and of own objectives (:mod:`study.trials.plugins`).
        epochs: of a trial whose values name no other number; a trial is not pruned at its last epoch.
        reports_wait: whether the trainable waits for the decision on each report before it trains on, as whatever
            calls ``ray.tune.report`` does; Ray Train's workers do not.
        on_event: called with every :mod:`study.monitor.events` event, in the driver.
        on_open: called once the study is locked and seen to be the one that ``config`` describes.

    Raises:
        ConfigError: if the search space, an objective or an enqueued point is not valid.
        StudyError: if another driver runs the study, it was begun with other settings, or its folder or database
            cannot be written.
        ResourceError: if the last Ray node died; called again, the study continues.
    """
    started = time.monotonic()
    folder = folder.resolve()
    space = SearchSpace.parse(config.space)
    if metric_directions is None:
        metric_directions = known_directions(config.objectives)
    check_objectives(config, metric_directions)
    pruner = make_pruner(config, metric_directions)
    with storage_errors(folder), study_lock(folder) as lock:
        study = _open(config, folder, space, fingerprint, metric_directions)
        on_open()
        trials = _count_trials(config, space, study)
        ledger = Ledger(
            study,
            folder,
            space,
            config.objectives,
            config.constraints,
            trials,
            lock.check,
            # A grid has each combination once, and nothing to put in the place of one that was enqueued as well.
            replaces_duplicates=config.sampler.name != "grid",
        )
        study.set_user_attr(PLAN, {"trials": trials, "max_concurrent": max_concurrent, "epochs": epochs})
        listen = both(TensorBoardLog(folder), with_mlflow(config.mlflow, folder, on_event))
        searcher = StudySearcher(ledger, folder, listen, config.max_retries)
        scheduler = StudyScheduler(pruner, searcher, epochs, config.max_retries, listen, reports_wait)
        scheduler.replay(folder, read_records(study))
        if ledger.remaining():
            tune_config = _tune_config(searcher, scheduler, max_concurrent)
            guarded = tune.with_resources(report_fatal_errors(trainable), resources)
            _execute(guarded, tune_config, folder, config.max_retries)
        return _summarise(folder, study, started)


def load_study(folder: Path) -> optuna.Study:
    """The study in ``folder`` as Optuna sees it; for its trials as plain records see :func:`read_records`.

    Raises:
        StudyError: if there is none.
    """
    return open_study(folder)


def retry_failed(folder: Path) -> list[int]:
    """Queue every failed trial of the study once more; the next :func:`run_study` runs them.

    A repeat is a new trial with the same parameters that begins from nothing: what a failed trial left
    behind may be what made it fail.

    Returns:
        The numbers of the trials that will be repeated.

    Raises:
        StudyError: if ``folder`` holds no study, or a driver is running it.
    """
    folder = folder.resolve()
    read_card(folder)  # a folder without a study gets no lock file
    with storage_errors(folder), study_lock(folder):
        return enqueue_failed(open_study(folder, writable=True))


def _open(
    config: StudyConfig,
    folder: Path,
    space: SearchSpace,
    fingerprint: Mapping[str, str],
    metric_directions: Mapping[str, str],
) -> optuna.Study:
    study = create_study(folder, config.storage, [metric_directions[name] for name in config.objectives])
    check_fingerprint(study, {**search_fingerprint(config, space, metric_directions), **fingerprint})
    study.sampler = make_sampler(config.sampler, space, config.seed)
    name_objectives(study, config.objectives)
    return study


def _count_trials(config: StudyConfig, space: SearchSpace, study: optuna.Study) -> int:
    """Queue what is to be tried first; return how many trials the study shall have."""
    points = list(config.enqueue)
    if config.enqueue_front_of is not None:
        points += front_of(open_folder(config.enqueue_front_of), space)
    queued = enqueue_points(study, space, points)
    if config.sampler.name != "grid":
        return config.trials
    return min(config.trials, queued + sum(1 for _ in space.grid(config.sampler.grid_points)))


def _tune_config(
    searcher: StudySearcher,
    scheduler: StudyScheduler,
    max_concurrent: int,
) -> tune.TuneConfig:
    return tune.TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=-1,  # the searcher knows when there are no more
        max_concurrent_trials=max_concurrent,
        reuse_actors=True,  # starting a process and importing takes longer than most trials' first epoch
        trial_name_creator=_name,
        trial_dirname_creator=_name,
    )


def _execute(trainable: Any, tune_config: tune.TuneConfig, folder: Path, max_retries: int) -> None:
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial's reason is in its record
    with scratch_folder(folder, StudyFolder.tune_scratch) as scratch, ray_session():
        run_config = tune.RunConfig(
            name=scratch.name,
            storage_path=str(scratch.parent),
            failure_config=tune.FailureConfig(max_failures=max_retries),
            callbacks=[NodeWatch()],
            verbose=0,
        )
        tune.Tuner(trainable, tune_config=tune_config, run_config=run_config).fit()


def _summarise(folder: Path, study: optuna.Study, started: float) -> StudySummary:
    trials = read_records(study)
    interrupted = any(record.status == RUNNING for record in trials)
    return StudySummary(folder, trials, best_records(study), time.monotonic() - started, interrupted)


def _name(trial: Any) -> str:
    return f"{trial.config['trial']:04d}"
