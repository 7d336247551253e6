"""How far a study is, read from its folder alone: from another shell, while it runs or long after it died.

Reads the study's storage, ``driver.lock`` and the epoch logs of running trials; writes nothing.
"""

from __future__ import annotations

import statistics
import time
from bisect import insort
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from analysis.pareto import hypervolume
from study.search.budget import Spent, account_of
from study.search.config import BudgetConfig
from study.search.control import Control, read_control
from study.search.events import ReferencesAdvanced
from study.search.lock import Driver, read_driver
from study.search.storage.opening import open_study
from study.search.storage.records import (
    PLAN,
    REBUILT,
    SPENT,
    FollowedRecords,
    TrialRecord,
    is_replaced,
)
from study.trials import epoch_log
from taskct_core.contracts.files import is_remote, parse_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.schema import COMPLETE, EPOCH, FAIL, PRUNED, RUNNING, SECONDS

Step = Literal["epoch", "run"]  # what a trial reports after; a run where it is repeated over folds or seeds
Box = tuple[NDArray[np.float64], NDArray[np.float64]]  # lowest and highest value of each objective
State = Literal["running", "finished", "stopped"]
FINAL_STATES = (COMPLETE, PRUNED, FAIL)
# A trial without an epoch for so long, and for so many of its epochs, is called one without progress.
STALLED_SECONDS, STALLED_EPOCHS = 600.0, 5


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has no final state yet, at its last logged epoch."""

    trial: int
    values: dict[str, Any]
    step: Step  # what its epochs are
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
    counts: dict[str, int]  # trials by status, duplicates left out
    duplicates: int  # proposals that repeated a trial, and gave way to another
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


class _Ended:
    """What status tells of the trials that have ended, kept while they end."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.duplicates = 0
        self.replaced = 0  # others that do not count towards the study's number of trials
        self.failures: dict[int, TrialRecord] = {}
        self.spent = Spent()  # by them
        self.seconds: list[float] = []  # that they took, sorted
        self.box: Box | None = None  # the worst and best values seen

    def add(self, record: TrialRecord, trial: FrozenTrial, epochs_per_report: int | None) -> None:
        if record.duplicate_of is not None:
            self.duplicates += 1
            return
        self.counts[record.status] += 1
        self.spent.count(record, record.last_epoch, epochs_per_report)
        self.replaced += is_replaced(record)
        if record.status == FAIL:
            self.failures[record.trial] = record
        if trial.duration is not None and REBUILT not in trial.user_attrs:
            insort(self.seconds, trial.duration.total_seconds())
        if record.status == COMPLETE and record.feasible:
            values = np.array(trial.values)
            low, high = self.box or (values, values)
            self.box = np.minimum(low, values), np.maximum(high, values)


class StatusReader:
    """Reads a study's status again and again; storage is opened once and then only followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._study = open_study(self._folder)
        self._records = FollowedRecords(self._study)
        self._ended = _Ended()

    def read(self) -> StudyStatus:
        """The status now."""
        ended, plan = self._ended, self._study.user_attrs.get(PLAN, {})
        for record in self._records.look():
            ended.add(record, self._records.trials[record.trial], plan.get("epochs_per_report"))
        still_open = self._records.open()
        directions = objective_directions(self._study)
        driver = read_driver(self._folder)
        control = read_control(self._folder)
        replaced = ended.replaced + sum(map(is_replaced, still_open))
        total = max(len(self._records.trials) - ended.duplicates, plan.get("trials", 0) + replaced)
        finished = ended.counts.total()
        alive = driver is not None and driver.is_alive
        references = _read_references(StudyFolder(self._folder))
        running = [
            self._running(r, plan, driver if alive else None, _pause_of(r, control, is_alive=alive))
            for r in still_open
            if r.status == RUNNING
        ]
        ended_by = self._study.user_attrs.get(SPENT, {}).get("ended_by")
        is_whole = (finished == total or (ended_by is not None and not running)) and references is None
        front = self._records.front()
        return StudyStatus(
            folder=self._folder,
            state="running" if alive else "finished" if is_whole else "stopped",
            driver=driver,
            directions=directions,
            trials=total,
            counts=dict(sorted((ended.counts + Counter(record.status for record in still_open)).items())),
            duplicates=ended.duplicates,
            running=running,
            front=front,
            hypervolume_share=_hypervolume_share(front, directions, ended.box),
            failures=[ended.failures[number] for number in sorted(ended.failures)],
            timeout=plan.get("timeout"),
            trial_timeout=plan.get("trial_timeout"),
            control=control,
            budget=BudgetConfig.parse(plan.get("budget", {})),
            spent=self._spent(still_open, running, plan.get("epochs_per_report")),
            ended_by=ended_by,
            seconds_left=_seconds_left(
                ended.seconds, total - finished, control.concurrent or plan.get("max_concurrent", 1)
            )
            if alive
            else None,
            references=references,
        )

    def _spent(
        self, still_open: list[TrialRecord], running: list[RunningTrial], epochs_per_report: int | None
    ) -> Spent:
        spent, epochs = account_of(self._study), {trial.trial: trial.epoch for trial in running}
        spent.trials, spent.epochs = self._ended.spent.trials, self._ended.spent.epochs
        for record in still_open:
            spent.count(record, epochs.get(record.trial, 0), epochs_per_report)
        return spent

    def _running(
        self,
        record: TrialRecord,
        plan: dict[str, Any],
        driver: Driver | None,
        pause: Literal["", "pausing", "paused"],
    ) -> RunningTrial:
        rows = epoch_log.read(StudyFolder(self._folder).trial(record.trial))
        row = rows[-1] if rows else EpochRow()
        epoch, is_repeated = row.get(EPOCH, 0), plan.get("epochs_per_report") is not None
        return RunningTrial(
            record.trial,
            record.values,
            "run" if is_repeated else "epoch",
            epoch,
            plan["epochs"] if is_repeated else record.values.get("epochs", plan.get("epochs")),
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
        proposed = self._records.trials[trial].datetime_start
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


def _hypervolume_share(front: list[TrialRecord], directions: dict[str, str], box: Box | None) -> float | None:
    """What part of the box between the worst and best completed values the front dominates."""
    if box is None or not 2 <= len(directions) <= 3 or (box[0] == box[1]).any():
        return None
    low, high = box
    ways = list(directions.values())
    worst = np.where([way == "maximize" for way in ways], low, high)
    points = np.array([[record.objectives[name] for name in directions] for record in front])
    return hypervolume(points, worst.tolist(), ways) / float(np.prod(high - low))


def _seconds_left(ended: list[float], trials_left: int, concurrent: int) -> float | None:
    """Trials left at the median duration of those that ended, so many at a time."""
    if not ended:
        return None
    at_a_time = max(1, min(concurrent, trials_left))
    return trials_left * statistics.median(ended) / at_a_time
