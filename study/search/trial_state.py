"""What a conductor goes by: the rules of a study, what it proposes, and what it knows of a trial that has begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from study.search.config import BudgetConfig
from study.search.judgement import Judge
from taskct_core.contracts.folders import TrialFolder


@dataclass(frozen=True)
class Rules:
    """By what a study's trials are proposed and ended.

    Attributes:
        judge: of ended trials.
        trials: how many the study shall have, retried ones not counted twice.
        epochs: of a trial whose values name no other number; its last epoch is no ground to stop it.
        runs: of a trial that is repeated: it reports as many times, whatever number of epochs its values name.
        max_retries: of a trial, however many drivers it has seen.
        replaces_duplicates: whether a trial that would repeat an earlier one gives way to another proposal.
        reports_wait: whether a trial waits for the decision on each epoch before it trains on.
        timeout: seconds after which nothing more is proposed by this driver.
        trial_timeout: seconds that one attempt at a trial may take; it fails then.
        budget: of the study, over all of its drivers.
        gpus: that a trial holds.
        max_concurrent: trials that run at a time; None: as many as the executor asks for.
    """

    judge: Judge
    trials: int
    epochs: int | None = None
    runs: int | None = None
    max_retries: int = 0
    replaces_duplicates: bool = True
    reports_wait: bool = True
    timeout: float | None = None
    trial_timeout: float | None = None
    budget: BudgetConfig = BudgetConfig()
    gpus: float = 0.0
    max_concurrent: int | None = None

    def last_report(self, values: Mapping[str, Any]) -> int | None:
        """The epoch, or run, that a trial of these values ends with; None where nobody knows."""
        last: int | None = self.runs or values.get("epochs", self.epochs)
        return last


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    trial: int
    folder: TrialFolder
    values: dict[str, Any]  # overrides of the trial's configuration


@dataclass
class TrialState:
    """What is known of a trial that has begun and has no final state."""

    optuna: optuna.Trial
    is_out: bool = False  # whether it was proposed to be run, by this driver
    # Overrides of its configuration; none before it is proposed.
    values: dict[str, Any] = field(default_factory=dict)
    logged: int = 0  # epochs that it had logged under earlier drivers
    decided: int = 0  # the last epoch that was decided on
    # Why it was stopped at that epoch: a worker that does not wait trains on meanwhile.
    pruned: str | None = None
    is_pausing: bool = False  # whether it is being stopped after an epoch, to go on later
    errors: int = 0  # that it met, under earlier drivers as well
    error: str | None = None  # the last of them
    is_fatal: bool = False  # whether it would meet it again
    is_restarting: bool = False  # whether it met an error and has not reported since
    started: float | None = None  # when the attempt that runs began, by the conductor's clock

    @property
    def number(self) -> int:
        return self.optuna.number

    def is_overdue(self, now: float, limit: float | None) -> bool:
        """Whether the attempt that runs has taken as long as one may, and nobody has said so yet."""
        if limit is None or self.started is None or self.is_fatal or not self.is_out:
            return False
        return now - self.started >= limit

    def come_back(self) -> None:
        """Take note that nobody runs it any longer, and that it is to be proposed again."""
        self.is_out = self.is_pausing = self.is_restarting = False
        self.started = None
