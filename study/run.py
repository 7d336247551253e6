"""Running a study: the conductor proposes and judges trials, an executor runs them, Optuna's storage remembers.

Reads and writes the study folder: ``storage.json``, ``journal.log`` and ``trials/0003/``. Every call adopts the trials
that an earlier one left RUNNING, so that continuing, extending and starting are one thing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna

from study.monitor.trackers.tracking import tracked
from study.search.conductor import Conductor
from study.search.config import PrunerConfig, StudyConfig, points_of
from study.search.events import OnEvent, StudyOpened, TrialsEnded, ignore
from study.search.judgement import Judge
from study.search.lock import study_lock
from study.search.pruners import make_pruner
from study.search.pruners.pruner import Pruner
from study.search.samplers import make_sampler
from study.search.space import SearchSpace
from study.search.storage.fingerprint import check_fingerprint, check_objectives, search_fingerprint
from study.search.storage.opening import (
    create_study,
    name_objectives,
    open_study,
    read_card,
    storage_errors,
)
from study.search.storage.queue import enqueue_failed, enqueue_points, front_of
from study.search.storage.records import PLAN, TrialRecord, best_records, read_records
from study.search.storage.warm_start import warm_start
from study.search.trial_state import Rules
from study.trials.plugins import metric_directions
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder


@dataclass(frozen=True)
class StudyPlan:
    """What a study is.

    Attributes:
        config: what is searched and how.
        folder: of the study; shared by all nodes of the cluster, or remote (see :mod:`taskct_core.contracts.files`).
        fingerprint: what must not change while the study lives, such as the data's hash, by name.
        epochs: of a trial whose values name no other number; a trial is not pruned at its last epoch.
        directions: column -> ``maximize`` or ``minimize``, for every objective and watched metric; by default those
            of the platform's metrics and of own objectives (:mod:`study.trials.plugins`).
        runs: of a trial whose configuration is repeated over folds and seeds: each reports once, as an epoch does.
        gpus: that a trial holds, which ``study.budget.gpu_hours`` counts.
    """

    config: StudyConfig
    folder: StudyFolder | Path
    fingerprint: Mapping[str, str]
    epochs: int | None = None
    directions: Mapping[str, str] | None = None
    runs: int | None = None
    gpus: float = 0.0


class Executor(Protocol):
    """Runs the trials that a conductor proposes, such as :class:`study.search.tune.TuneExecutor`."""

    @property
    def max_concurrent(self) -> int:
        """How many trials run at a time."""

    @property
    def reports_wait(self) -> bool:
        """Whether a trial waits for the decision on each epoch before it trains on."""

    def run(self, conductor: Conductor) -> None:
        """Run trials until the conductor proposes no more, or an interrupt leaves some RUNNING."""


@dataclass(frozen=True)
class StudySummary:
    """How a call of :func:`run_study` ended."""

    folder: Path
    trials: list[TrialRecord]
    front: list[TrialRecord]  # completed, feasible trials that no other dominates
    seconds: float  # of this call
    interrupted: bool  # whether trials are left to be run or continued, by the next call
    timed_out: bool = False  # whether that is because `timeout` was over
    paused: list[int] = field(default_factory=list)  # that alone are left to be continued, once resumed
    ended_by: str | None = None  # what of study.budget was used up before all trials had run to their end


def run_study(plan: StudyPlan, executor: Executor, on_event: OnEvent = ignore) -> StudySummary:
    """Start, continue or extend a study until every trial has a final state.

    Args:
        plan: what the study is.
        executor: that runs its trials.
        on_event: called with every :mod:`study.search.events` event, in the driver.

    Raises:
        ConfigError: if the search space, an objective or an enqueued point is not valid.
        StudyError: if another driver runs the study, it was begun with other settings, its storage is lost, or its
            folder or database cannot be written.
        ResourceError: if the last Ray node died; called again, the study continues.
    """
    started = time.monotonic()
    config, folder = plan.config, StudyFolder.at(plan.folder).resolved().path
    space = SearchSpace.parse(config.space)
    directions = metric_directions(config.objectives) if plan.directions is None else plan.directions
    check_objectives(config, directions)

    def pruner_of(changed: PrunerConfig | None) -> Pruner:
        return make_pruner(config.model_copy(update={"pruner": changed or config.pruner}), directions)

    pruner = pruner_of(None)
    with storage_errors(folder), study_lock(folder) as lock:
        study = _open(plan, folder, space, directions)
        on_event(StudyOpened(folder))
        tell = tracked(config, folder, on_event)
        rules = _rules(plan, executor, space, study)
        conductor = Conductor(
            study,
            StudyFolder(folder),
            space,
            rules,
            pruner,
            lock.check,
            tell,
            pruner_of,
        )
        _write_plan(study, plan, executor, rules)
        _conduct(conductor, executor, tell)
        return StudySummary(
            folder,
            read_records(study),
            best_records(study),
            seconds=time.monotonic() - started,
            interrupted=not conductor.is_finished,
            timed_out=conductor.time_is_up and not conductor.is_finished,
            paused=conductor.paused if conductor.waits_for_paused else [],
            ended_by=conductor.ended_by if conductor.is_finished else None,
        )


def _write_plan(study: optuna.Study, plan: StudyPlan, executor: Executor, rules: Rules) -> None:
    """Leave in the storage what ``taskct status`` tells of the run."""
    told = {
        "trials": rules.trials,
        "max_concurrent": executor.max_concurrent,
        "epochs": plan.runs or plan.epochs,
        "timeout": rules.timeout,
        "trial_timeout": rules.trial_timeout,
        "budget": plan.config.budget.model_dump(),
        "epochs_per_report": plan.epochs if plan.runs else None,
    }
    study.set_user_attr(PLAN, told)


def _conduct(conductor: Conductor, executor: Executor, on_event: OnEvent) -> None:
    """Run what is left to run, and tell how it ended, however it did."""
    is_finished = False
    try:
        if conductor.remaining():
            executor.run(conductor)
        conductor.close()
        is_finished = conductor.is_finished
    finally:
        on_event(TrialsEnded(is_finished))


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


def _open(plan: StudyPlan, folder: Path, space: SearchSpace, directions: Mapping[str, str]) -> optuna.Study:
    config = plan.config
    study = create_study(folder, config.storage, [directions[name] for name in config.objectives])
    check_fingerprint(study, {**search_fingerprint(config, space, directions), **plan.fingerprint})
    past = warm_start(folder, config, space, directions).trials(space)
    study.sampler = make_sampler(config.sampler, space, config.seed, past)
    name_objectives(study, config.objectives)
    return study


def _rules(plan: StudyPlan, executor: Executor, space: SearchSpace, study: optuna.Study) -> Rules:
    config = plan.config
    return Rules(
        Judge(config.objectives, config.constraints),
        trials=_count_trials(config, space, study),
        epochs=plan.epochs,
        runs=plan.runs,
        max_retries=config.max_retries,
        # A grid has each combination once, and nothing to put in the place of one that was enqueued as well.
        replaces_duplicates=config.sampler.name != "grid",
        reports_wait=executor.reports_wait,
        timeout=config.timeout,
        trial_timeout=config.trial_timeout,
        budget=config.budget,
        gpus=plan.gpus,
        max_concurrent=executor.max_concurrent,
    )


def _count_trials(config: StudyConfig, space: SearchSpace, study: optuna.Study) -> int:
    """Queue what is to be tried first; return how many trials the study shall have."""
    points = points_of(config.enqueue)
    if config.enqueue_front_of is not None:
        points += front_of(open_folder(config.enqueue_front_of), space)
    queued = enqueue_points(study, space, points)
    if config.sampler.name != "grid":
        return config.trials
    return min(config.trials, queued + sum(1 for _ in space.grid(config.sampler.grid_points)))
