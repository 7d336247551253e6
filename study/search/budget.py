"""What a study may spend over all of its drivers, and what it has spent.

Trials and epochs are counted from storage and epoch logs. Seconds and GPU-hours are kept in storage: a driver that is
killed loses the last few seconds of its account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from study.search.config import BudgetConfig
from study.search.storage.records import SPENT, WAITING, TrialRecord

_SECONDS_BETWEEN_WRITES = 5.0
_SECONDS_PER_HOUR = 3600.0


@dataclass
class Spent:
    """What a study has spent so far."""

    trials: int = 0  # that were run, repeats of failed ones included
    epochs: int = 0
    seconds: float = 0.0  # in which a driver ran it
    gpu_hours: float = 0.0  # hours of its trials, times the GPUs that each held

    def count(self, record: TrialRecord, epochs: int, epochs_per_report: int | None) -> None:
        """Add a trial that has reported so many epochs, or runs of ``epochs_per_report`` epochs each."""
        if record.status != WAITING and record.duplicate_of is None:
            self.trials += 1
            self.epochs += epochs * epochs_of_report(record.values, epochs_per_report)

    def of_limits(self, budget: BudgetConfig) -> Iterator[tuple[str, float, float]]:
        """Name, amount spent and limit of everything that the budget limits."""
        for name in BudgetConfig.model_fields:
            limit = getattr(budget, name)
            if limit is not None:
                yield name, getattr(self, name), limit


def describe_spent(spent: Spent, budget: BudgetConfig) -> str:
    """``12 of 100 epochs, 1.25 of 8 GPU-hours``; empty without a budget."""
    units = {"gpu_hours": "GPU-hours"}
    return ", ".join(
        f"{amount:.4g} of {limit:g} {units.get(name, name)}"
        for name, amount, limit in spent.of_limits(budget)
    )


def read_spent(
    study: optuna.Study,
    records: Sequence[TrialRecord],
    logged: Mapping[int, int],
    epochs_per_report: int | None = None,
) -> Spent:
    """What the trials of a study and its drivers have spent.

    Args:
        study: whose drivers left their account.
        records: of its trials.
        logged: trial without a final state -> epochs in its log.
        epochs_per_report: of a trial that reports runs; None where trials report epochs.
    """
    spent = account_of(study)
    for record in records:
        spent.count(record, logged.get(record.trial, record.last_epoch), epochs_per_report)
    return spent


def account_of(study: optuna.Study) -> Spent:
    """What a study's drivers have stored of its seconds and GPU-hours; its trials are yet to be counted."""
    account = study.user_attrs.get(SPENT, {})
    return Spent(seconds=account.get("seconds", 0.0), gpu_hours=account.get("gpu_hours", 0.0))


def epochs_of_report(values: Mapping[str, Any], per_report: int | None) -> int:
    """How many epochs a trial trains between two of its reports: 1, or those of a run where runs are reported."""
    return 1 if per_report is None else int(values.get("epochs", per_report))


class Ledger:
    """A driver's account of its study.

    Args:
        budget: of the study.
        study: where the account is kept.
        spent: before this driver.
        gpus: that a trial holds.
        epochs_per_report: of a trial that reports runs; None where trials report epochs.
        clock: seconds of a clock that is never set.
        check_lock: raises if this driver may no longer write.
    """

    def __init__(
        self,
        budget: BudgetConfig,
        study: optuna.Study,
        spent: Spent,
        *,
        gpus: float = 0.0,
        epochs_per_report: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        check_lock: Callable[[], None] = lambda: None,
    ) -> None:
        self.spent = spent
        self._budget = budget
        self._study = study
        self._gpus = gpus
        self._epochs_per_report = epochs_per_report
        self._clock = clock
        self._check_lock = check_lock
        self._now = self._written = clock()
        self._holding: set[int] = set()  # trials that hold their GPUs
        self._promised: dict[int, int] = {}  # trial -> epochs that it trains before it reports again

    @property
    def trials_left(self) -> int | None:
        """How many more trials may begin; None: the budget does not say."""
        limit = self._budget.trials
        return None if limit is None else max(0, limit - self.spent.trials)

    def used_up(self, values: Mapping[str, Any] | None = None) -> str | None:
        """Why no trial may train on, or this one not; what others train until they report counts as spent.

        A budget of trials keeps new ones from beginning, and ends none that runs.
        """
        self.advance()
        following = epochs_of_report(values or {}, self._epochs_per_report)
        for name, amount, limit in self.spent.of_limits(self._budget):
            amount += sum(self._promised.values()) + following - 1 if name == "epochs" else 0
            if name != "trials" and amount >= limit:
                return f"study.budget.{name} = {limit:g} is used up"
        return None

    def promise(self, trial: int, values: Mapping[str, Any]) -> None:
        """The trial trains on until its next report."""
        self._promised[trial] = epochs_of_report(values, self._epochs_per_report)

    def reported(self, trial: int, values: Mapping[str, Any], *, is_new: bool) -> None:
        """The trial has reported an epoch, or a run, which is ``is_new`` if it was not counted before."""
        self._promised.pop(trial, None)
        if is_new:
            self.spent.epochs += epochs_of_report(values, self._epochs_per_report)

    def took_gpus(self, trial: int) -> None:
        """The trial holds its GPUs from now on."""
        self.advance()
        self._holding.add(trial)

    def left(self, trial: int) -> None:
        """The trial does not run any longer."""
        self.advance()
        self._holding.discard(trial)
        self._promised.pop(trial, None)

    def advance(self) -> None:
        """Account for the time since the last call, and store it now and then."""
        before, self._now = self._now, self._clock()
        self.spent.seconds += self._now - before
        held = len(self._holding) * self._gpus
        self.spent.gpu_hours += held * (self._now - before) / _SECONDS_PER_HOUR
        if self._now - self._written >= _SECONDS_BETWEEN_WRITES:
            self.store()

    def store(self, ended_by: str | None = None) -> None:
        """Write the account to storage.

        Args:
            ended_by: what of the budget ended the study.
        """
        self._check_lock()
        self._written = self._now
        account = {
            "seconds": self.spent.seconds,
            "gpu_hours": self.spent.gpu_hours,
            "ended_by": ended_by,
        }
        self._study.set_user_attr(SPENT, account)
