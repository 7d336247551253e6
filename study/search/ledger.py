"""The trials of a study in Optuna's storage: proposed, adopted, and brought to a final state.

Knows nothing of Ray. A trial is RUNNING from its proposal until :meth:`Ledger.finish`, so that whatever
a driver leaves behind when it dies is there to be adopted by the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.search.points import FIXED
from study.search.records import (
    CURVES,
    DUPLICATE_OF,
    ERRORS,
    LAST_EPOCH,
    OBJECTIVES,
    REASON,
    RETRIES,
    RETRY_OF,
    VALUES,
)
from study.search.space import SearchSpace
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.schema import COMPLETE, EPOCH, FAIL, PRUNED

_DUPLICATES_IN_A_ROW = 5


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    trial: int
    values: dict[str, Any]  # overrides of the trial's configuration
    adopted: bool  # whether an earlier driver proposed it
    errors: int = 0  # that it met under earlier drivers


@dataclass(frozen=True)
class Pruning:
    """That a trial was stopped early."""

    epoch: int  # the last that counts; a worker that does not wait for the decision trains on until it is stopped
    reason: str


@dataclass(frozen=True)
class Outcome:
    """The final state of a trial, as told to Optuna."""

    status: str
    objectives: dict[str, float]
    reason: str | None


class Ledger:
    """Proposes, adopts and finishes the trials of one study.

    Args:
        study: with its sampler set.
        folder: of the study.
        space: that trials are drawn from.
        objectives: columns of the epoch log, in the order of the study's directions.
        constraints: column -> upper bound.
        trials: how many trials the study shall have, retried ones not counted twice.
        check_lock: raises if this driver may no longer write.
        replaces_duplicates: whether a trial that would repeat an earlier one gives way to another proposal.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: Path,
        space: SearchSpace,
        objectives: list[str],
        constraints: dict[str, float],
        trials: int,
        check_lock: Callable[[], None],
        replaces_duplicates: bool = True,
    ) -> None:
        self._study = study
        self._folder = folder
        self._space = space
        self._objectives = objectives
        self._constraints = constraints
        self._trials = trials
        self._check_lock = check_lock
        self._replaces_duplicates = replaces_duplicates
        self._left_running = self._numbers(TrialState.RUNNING)
        self._live: dict[int, optuna.Trial] = {}

    def remaining(self) -> int:
        """How many trials are still to be run: adopted, waiting and new."""
        trials = self._study.get_trials(deepcopy=False)
        waiting = sum(1 for trial in trials if trial.state == TrialState.WAITING)
        beyond = sum(
            1 for trial in trials if RETRY_OF in trial.user_attrs or DUPLICATE_OF in trial.user_attrs
        )
        return len(self._left_running) + waiting + max(0, self._trials + beyond - len(trials))

    def propose(self) -> Proposal | None:
        """The next trial to run: one left RUNNING, one waiting, or a new one; ``None`` if none remains."""
        while True:
            self._check_lock()
            proposal = self._next()
            twin = self._twin_of(proposal) if proposal is not None else None
            if proposal is None or twin is None:
                return proposal
            self._give_way(proposal.trial, twin)

    def _next(self) -> Proposal | None:
        if self._left_running:
            return self._adopt(self._left_running.pop(0))
        if self.remaining() == 0:
            return None
        return self._open(self._study.ask(), adopted=False)

    def _twin_of(self, proposal: Proposal) -> int | None:
        """An earlier trial of the same values: without a seed of its own, a trial would only repeat it.

        ``None`` once some duplicates came in a row: the space seems to have nothing else to offer. What was asked for
        by enqueueing is never a duplicate. All of this is told by storage, so that an adopted trial is judged as before.
        """
        trials = self._study.get_trials(deepcopy=False)
        if not self._replaces_duplicates or FIXED in trials[proposal.trial].system_attrs:
            return None
        before = trials[: proposal.trial]
        run = [t for t in before if DUPLICATE_OF not in t.user_attrs and t.state != TrialState.FAIL]
        twin = next((t.number for t in run if t.user_attrs.get(VALUES) == proposal.values), None)
        return None if twin is None or _has_given_up(before, run) else twin

    def _give_way(self, number: int, twin: int) -> None:
        """End a duplicate before it starts, so that its sampler proposes another."""
        trial = self._live.pop(number)
        trial.set_user_attr(REASON, f"the same configuration as trial {twin}, which is not run again")
        trial.set_user_attr(DUPLICATE_OF, twin)
        self._study.tell(number, state=TrialState.PRUNED)

    def give_back(self, number: int) -> None:
        """Take a trial back that could not be run to its end; it is proposed again before any other."""
        del self._live[number]
        self._left_running.insert(0, number)

    def note_errors(self, number: int, errors: int) -> None:
        """Store how many errors a trial has met, so that the limit of its retries outlives this driver."""
        self._live[number].set_user_attr(ERRORS, errors)

    def _adopt(self, number: int) -> Proposal:
        trial_id = self._study.get_trials(deepcopy=False)[number]._trial_id
        return self._open(optuna.Trial(self._study, trial_id), adopted=True)

    def _open(self, trial: optuna.Trial, adopted: bool) -> Proposal:
        # An adopted trial keeps the parameters it has; a driver may have died between two of them.
        values = trial.user_attrs.get(VALUES) or self._space.suggest(trial)
        trial.set_user_attr(VALUES, values)
        self._live[trial.number] = trial
        return Proposal(trial.number, values, adopted, trial.user_attrs.get(ERRORS, 0))

    def take_over(self, trial: optuna.Trial) -> None:
        """Let a trial that ran under a storage that is lost be finished here."""
        self._live[trial.number] = trial

    def finish(self, number: int, *, pruned: Pruning | None, error: str | None, retries: int) -> Outcome:
        """Tell Optuna how a trial ended, judged by its epoch log.

        Args:
            number: of the trial.
            pruned: when and why it was stopped early, if it was.
            error: what made it fail, if it did.
            retries: how often it was started again.
        """
        self._check_lock()
        trial = self._live[number]
        rows = epoch_log.read(
            StudyFolder(self._folder).trial(number), last_epoch=pruned.epoch if pruned else None
        )
        outcome = self._judge(rows, pruned.reason if pruned else None, error)
        self._keep(trial, rows, outcome, retries)
        if outcome.status == COMPLETE:
            self._study.tell(number, [outcome.objectives[column] for column in self._objectives])
        else:
            self._study.tell(number, state=TrialState[outcome.status])
        del self._live[number]
        return outcome

    def _judge(self, rows: list[EpochRow], pruned: str | None, error: str | None) -> Outcome:
        last = epoch_log.kept_row(rows) if rows else EpochRow()
        scores = finite_numbers(last)
        objectives = {name: scores[name] for name in self._objectives if name in scores}
        if error is not None:
            return Outcome(FAIL, objectives, error)
        if not rows:
            return Outcome(FAIL, {}, "the trial ended without reporting an epoch")
        for name in [*self._objectives, *self._constraints]:
            if name not in scores:
                return Outcome(FAIL, objectives, f"{name} is {last.get(name)} at epoch {last[EPOCH]}")
        return Outcome(PRUNED if pruned else COMPLETE, objectives, pruned)

    def _keep(self, trial: optuna.Trial, rows: list[EpochRow], outcome: Outcome, retries: int) -> None:
        """Store what Optuna's final states have no room for, and what its samplers read of a trial."""
        attributes = {
            OBJECTIVES: outcome.objectives,
            LAST_EPOCH: rows[-1][EPOCH] if rows else 0,
            CURVES: {name: [row.get(name) for row in rows] for name in self._objectives},
            RETRIES: retries,
            REASON: outcome.reason,
        }
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        scores = finite_numbers(epoch_log.kept_row(rows)) if rows else {}
        for name, bound in self._constraints.items():
            if name in scores:
                trial.set_constraint(name, scores[name] - bound)
        if len(self._objectives) == 1:
            for row in rows:
                score = finite_numbers(row).get(self._objectives[0])
                if score is not None:
                    trial.report(score, step=row[EPOCH])

    def _numbers(self, state: TrialState) -> list[int]:
        return [t.number for t in self._study.get_trials(deepcopy=False) if t.state == state]


def _has_given_up(before: list[FrozenTrial], run: list[FrozenTrial]) -> bool:
    """Whether duplicates are run by now: some came in a row, or one was drawn and run already."""
    latest = before[-_DUPLICATES_IN_A_ROW:]
    if len(latest) == _DUPLICATES_IN_A_ROW and all(DUPLICATE_OF in trial.user_attrs for trial in latest):
        return True
    drawn = [repr(trial.user_attrs.get(VALUES)) for trial in run if FIXED not in trial.system_attrs]
    return len(set(drawn)) < len(drawn)
