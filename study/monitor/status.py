"""How far a study is, read from its folder alone: from another shell, while it runs or long after it died.

Reads the study's storage, ``driver.lock`` and the epoch logs of running trials; writes nothing.
"""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.study import StudyDirection

from analysis.pareto import hypervolume
from study.search.budget import Spent, read_spent
from study.search.config import BudgetConfig
from study.search.control import Control, read_control
from study.search.events import ReferencesAdvanced
from study.search.lock import Driver, read_driver
from study.search.storage.opening import open_study
from study.search.storage.records import (
    PLAN,
    REBUILT,
    SPENT,
    TrialRecord,
    best_records,
    planned_count,
    read_records,
)
from study.trials import epoch_log
from taskct_core.contracts.files import is_remote, parse_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.schema import COMPLETE, EPOCH, FAIL, PRUNED, RUNNING, SECONDS

State = Literal["running", "finished", "stopped"]
FINAL_STATES = (COMPLETE, PRUNED, FAIL)
# A trial without an epoch for so long, and for so many of its epochs, is called one without progress.
STALLED_SECONDS, STALLED_EPOCHS = 600.0, 5


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has no final state yet, at its last logged epoch."""

    trial: int
    values: dict[str, Any]
    epoch: int  # 0 before the first
    epochs: int | None  # that it shall have; None if unknown
    row: EpochRow
    idle_seconds: float | None  # since it was proposed or logged an epoch; None where that is not known
    pause: Literal["", "pausing", "paused"]  # pausing: at the end of this epoch
    epoch_seconds: float  # that an epoch of it took so far; 0 before the first

    @property
    def is_stalled(self) -> bool:
        """Whether it makes no progress: for minutes, and for many times what its epochs took."""
        limit = max(STALLED_SECONDS, STALLED_EPOCHS * self.epoch_seconds)
        return self.pause != "paused" and self.idle_seconds is not None and self.idle_seconds > limit


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment."""

    folder: Path
    state: State  # stopped: no driver lives, but trials remain
    driver: Driver | None  # the last that has not left properly; None if none
    directions: dict[str, str]  # objective -> maximize or minimize
    trials: int  # that the study shall have
    counts: dict[str, int]  # trials by status
    running: list[RunningTrial]
    front: list[TrialRecord]
    hypervolume_share: float | None  # of the box between the worst and best values seen; None if undefined
    failures: list[TrialRecord]
    timeout: float | None  # seconds after which its driver stops
    trial_timeout: float | None  # seconds that an attempt at a trial may take
    control: Control  # what commands have changed
    budget: BudgetConfig  # of all drivers together
    spent: Spent
    ended_by: str | None  # what of the budget ended the study before all its trials had run to their end
    seconds_left: float | None  # estimated; None before the first trial ended, or when nothing runs
    references: ReferencesAdvanced | None  # how far they are; None before they begin, and when they are whole


class StatusReader:
    """Reads a study's status again and again; storage is opened once and then only followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._study = open_study(self._folder)

    def read(self) -> StudyStatus:
        """The status now."""
        study = self._study
        records = read_records(study)
        directions = objective_directions(study)
        driver = read_driver(self._folder)
        plan = study.user_attrs.get(PLAN, {})
        control = read_control(self._folder)
        total = max(len(records), plan.get("trials", 0) + len(records) - planned_count(records))
        finished = sum(1 for record in records if record.status in FINAL_STATES)
        alive = driver is not None and driver.is_alive
        counts = {s: sum(1 for r in records if r.status == s) for s in sorted({r.status for r in records})}
        references = _read_references(StudyFolder(self._folder))
        running = [
            self._running(r, plan, driver if alive else None, _pause_of(r, control, is_alive=alive))
            for r in records
            if r.status == RUNNING
        ]
        ended_by = study.user_attrs.get(SPENT, {}).get("ended_by")
        is_whole = (finished == total or (ended_by is not None and not running)) and references is None
        return StudyStatus(
            folder=self._folder,
            state="running" if alive else "finished" if is_whole else "stopped",
            driver=driver,
            directions=directions,
            trials=total,
            counts=counts,
            running=running,
            front=best_records(study),
            hypervolume_share=_hypervolume_share(records, directions),
            failures=[record for record in records if record.status == FAIL],
            timeout=plan.get("timeout"),
            trial_timeout=plan.get("trial_timeout"),
            control=control,
            budget=BudgetConfig.parse(plan.get("budget", {})),
            spent=read_spent(
                study,
                records,
                {trial.trial: trial.epoch for trial in running},
                plan.get("epochs_per_report"),
            ),
            ended_by=ended_by,
            seconds_left=_seconds_left(
                study, total - finished, control.concurrent or plan.get("max_concurrent", 1)
            )
            if alive
            else None,
            references=references,
        )

    def _running(
        self,
        record: TrialRecord,
        plan: dict[str, Any],
        driver: Driver | None,
        pause: Literal["", "pausing", "paused"],
    ) -> RunningTrial:
        rows = epoch_log.read(StudyFolder(self._folder).trial(record.trial))
        row = rows[-1] if rows else EpochRow()
        epoch = row.get(EPOCH, 0)
        return RunningTrial(
            record.trial,
            record.values,
            epoch,
            record.values.get("epochs", plan.get("epochs")),
            row,
            idle_seconds=self._idle_seconds(record.trial, driver),
            pause=pause,
            epoch_seconds=row.get(SECONDS, 0.0) / max(epoch, 1),
        )

    def _idle_seconds(self, trial: int, driver: Driver | None) -> float | None:
        """How long ago the driver proposed or adopted a trial, or the trial logged an epoch."""
        log = StudyFolder(self._folder).trial(trial).epoch_log
        if driver is None or is_remote(log):
            return None
        proposed = self._study.get_trials(deepcopy=False)[trial].datetime_start
        times = [driver.since, proposed.timestamp() if proposed else 0.0]
        with suppress(FileNotFoundError):
            times.append(log.stat().st_mtime)
        return time.time() - max(times)


def _pause_of(record: TrialRecord, control: Control, *, is_alive: bool) -> Literal["", "pausing", "paused"]:
    """Whether a trial is paused, or will be when it has trained its epoch."""
    if record.trial not in control.paused:
        return ""
    return "pausing" if is_alive and not record.paused else "paused"


def _read_references(folder: StudyFolder) -> ReferencesAdvanced | None:
    try:
        note = parse_json(folder.reference_progress.read_bytes())
        return ReferencesAdvanced(int(note["done"]), int(note["total"]), str(note["method"]))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError):  # none, or damaged
        return None


def study_status(folder: Path) -> StudyStatus:
    """How far the study in ``folder`` is.

    Raises:
        StudyError: if there is none.
    """
    return StatusReader(folder).read()


def objective_directions(study: optuna.Study) -> dict[str, str]:
    """Objective -> ``maximize`` or ``minimize``, in the study's order."""
    names = study.metric_names or []
    ways = ["maximize" if way == StudyDirection.MAXIMIZE else "minimize" for way in study.directions]
    return dict(zip(names, ways, strict=True)) if names else {}


def _hypervolume_share(records: list[TrialRecord], directions: dict[str, str]) -> float | None:
    """What part of the box between the worst and best completed values the front dominates."""
    completed = [
        record
        for record in records
        if record.status == COMPLETE and record.feasible and directions.keys() <= record.objectives.keys()
    ]
    if not completed or not 2 <= len(directions) <= 3:
        return None
    points = np.array([[record.objectives[name] for name in directions] for record in completed])
    low, high = points.min(axis=0), points.max(axis=0)
    if (low == high).any():
        return None
    ways = list(directions.values())
    worst = np.where([way == "maximize" for way in ways], low, high)
    return hypervolume(points, worst, ways) / float(np.prod(high - low))


def _seconds_left(study: optuna.Study, trials_left: int, concurrent: int) -> float | None:
    """Trials left at the median duration of those that ended, so many at a time."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if REBUILT not in trial.user_attrs]
    ended = [trial.duration.total_seconds() for trial in trials if trial.duration is not None]
    if not ended:
        return None
    at_a_time = max(1, min(concurrent, trials_left))
    return trials_left * statistics.median(ended) / at_a_time
