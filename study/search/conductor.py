"""The conductor of a search: which trial runs next, which goes on, what became of each. Knows nothing of Ray.

    while (proposal := conductor.suggest()) is not None:
        for row in train(proposal):                       # logged first, then reported
            if not conductor.report(proposal.trial, row):
                break
        conductor.complete(proposal.trial)

Reads and writes Optuna's storage, reads the trials' epoch logs. A trial is RUNNING from its proposal until
:meth:`Conductor.complete`, so that whatever a driver leaves behind when it dies is there to be adopted by the next;
and each epoch of a trial is judged once, however often it is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna

from study.search.budget import Ledger, read_spent
from study.search.config import PrunerConfig
from study.search.control import ControlFollower
from study.search.events import (
    EpochReported,
    OnEvent,
    TrialErrored,
    TrialFinished,
    TrialPaused,
    TrialStarted,
    ignore,
)
from study.search.known_trials import KnownTrials
from study.search.pruners.pruner import NeverPrune, Pruner
from study.search.space import SearchSpace
from study.search.storage.queue import begin_queued
from study.search.storage.records import (
    DUPLICATE_OF,
    ERRORS,
    PAUSED,
    REASON,
    VALUES,
    read_records,
)
from study.search.trial_state import Proposal, Rules, TrialState
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.redaction import redacted
from taskct_core.schema import EPOCH

_Optuna = optuna.trial.TrialState


class Conductor:
    """Proposes the trials of a study, decides which stop early, and brings each to its final state.

    Args:
        study: with its sampler set.
        folder: of the study.
        space: that trials are drawn from.
        rules: by which trials are proposed and ended.
        pruner: with nothing observed yet.
        check_lock: raises if this driver may no longer write.
        make_pruner: a pruner with nothing observed yet of another configuration, which commands may give a study that
            runs, or of the study's own.
        on_event: called with what happens to each trial.
        clock: seconds of a clock that is never set.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: StudyFolder,
        space: SearchSpace,
        rules: Rules,
        pruner: Pruner | None = None,
        check_lock: Callable[[], None] = lambda: None,
        on_event: OnEvent = ignore,
        make_pruner: Callable[[PrunerConfig | None], Pruner] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.rules = rules
        self._study = study
        self._space = space
        self._make_pruner = make_pruner
        self._check_lock = check_lock
        self._on_event = on_event
        self._clock = clock
        self._began = clock()
        self._is_exhausted = False
        self._known = KnownTrials(study, folder)
        self._begun = self._known.left_running(reports_wait=rules.reports_wait)
        self._cut: str | None = None  # what of the budget ended a trial early
        self._follower = ControlFollower(folder.path, clock)
        changed = self._follower.control.pruner
        self._pruner = make_pruner(changed) if make_pruner and changed else pruner or NeverPrune()
        self._show_past()
        self._ledger = self._open_ledger()

    def remaining(self) -> int:
        """How many trials are still to be proposed: adopted, waiting and new."""
        return len(self._waiting()) + self._affordable(self._known.unbegun(self.rules.trials))

    @property
    def ended_by(self) -> str | None:
        """What of ``study.budget`` ended the study before all its trials were run to their end; None if nothing did."""
        if self._begun or self._cut is not None or not self._known.unbegun(self.rules.trials):
            return self._cut
        return self._ledger.used_up() or f"study.budget.trials = {self.rules.budget.trials} is used up"

    def close(self) -> None:
        """Store what the study has spent, once this driver is done with it."""
        self._ledger.advance()
        self._ledger.store(self.ended_by if self.is_finished else None)

    @property
    def is_done(self) -> bool:
        """Whether every trial has a final state or is paused; :meth:`suggest` found nothing more to propose."""
        return self._is_exhausted and len(self._begun) == len(self.paused)

    @property
    def paused(self) -> list[int]:
        """Trials that do not run until somebody resumes them."""
        paused = self._follower.control.paused
        return [
            number for number, state in sorted(self._begun.items()) if number in paused and not state.is_out
        ]

    @property
    def waits_for_paused(self) -> bool:
        """Whether nothing is left to do but what is paused."""
        return bool(self.paused) and len(self._begun) == len(self.paused) and self.remaining() == 0

    @property
    def time_is_up(self) -> bool:
        """Whether ``timeout`` is over: trials that run are to be left RUNNING, for another driver."""
        self._ledger.advance()
        return self.rules.timeout is not None and self._clock() - self._began >= self.rules.timeout

    @property
    def is_finished(self) -> bool:
        """Whether no trial is left to be run, continued or ended."""
        return not self._begun and self.remaining() == 0

    def suggest(self) -> Proposal | None:
        """The next trial to run: one left RUNNING, one waiting, or a new one.

        Returns:
            ``None`` if the time is up, if as many run as may, or if none remains, as far as is known: a trial that runs
            may have to be proposed again.
        """
        self._follow_control()
        # Executors ask again and again; storage need not be read each time.
        while not (self._is_exhausted or self.time_is_up or self._is_full):
            self._check_lock()
            self._end_what_waits()
            state, is_adopted = self._next()
            if state is None:
                self._is_exhausted = True
                return None
            state.values = self._draw(state)
            twin = self._known.twin_of(state.number) if self.rules.replaces_duplicates else None
            if twin is not None:
                self._give_way(state, twin)
                continue
            self._begin(state, is_adopted)
            return Proposal(state.number, self.folder.trial(state.number), state.values)
        return None

    def started(self, trial: int) -> None:
        """Take note that an attempt at the trial begins to run: its time counts from now on."""
        self._begun[trial].started = self._clock()
        self._ledger.took_gpus(trial)

    def overdue(self) -> list[int]:
        """Trials whose attempt has taken longer than it may; each is told once, and is to be stopped and completed."""
        now, limit = self._clock(), self.rules.trial_timeout
        late = [number for number, state in self._begun.items() if state.is_overdue(now, limit)]
        for number in late:
            reason = f"its time is up: not done after study.trial_timeout = {limit:g} s"
            self.fail(number, reason, is_fatal=True)
        return late

    def report(self, trial: int, row: EpochRow, *, is_preempted: bool = False) -> bool:
        """Take note of an epoch that the trial has logged; a trial that starts again reports its earlier ones again.

        Args:
            trial: that reports.
            row: of the epoch.
            is_preempted: whether the trial's node is about to be taken away: the trial then stops, with its checkpoint,
                and is proposed again before any other, as if nothing had happened to it.

        Returns:
            Whether the trial goes on.
        """
        state = self._begun[trial]
        state.is_restarting = False
        self._on_event(EpochReported(trial, row))
        if state.pruned is not None:
            return False
        if row[EPOCH] <= state.decided:
            return True
        self._follow_control()
        state.decided = row[EPOCH]
        self._ledger.reported(trial, state.values, is_new=row[EPOCH] > state.logged)
        reason = self._pruner.reason_to_stop(trial, row)
        if row[EPOCH] == self.rules.last_report(state.values):
            state.is_pausing = is_preempted
            return not is_preempted
        if reason is None:
            reason = self._ledger.used_up(state.values)
            self._cut = reason or self._cut
        if reason is not None:
            state.pruned = reason
            return False
        state.is_pausing = is_preempted or trial in self._follower.control.paused
        if not state.is_pausing:
            self._ledger.promise(trial, state.values)
        return not state.is_pausing

    def fail(self, trial: int, error: str, *, is_fatal: bool = False, while_starting: bool = False) -> None:
        """Take note of an error that the trial met; the limit of its retries outlives this driver.

        Args:
            trial: that met it.
            error: its message.
            is_fatal: whether the trial would meet it again: it is not started again then.
            while_starting: whether it came before the trial was seen to run. A process that dies may be reported
                twice, the second time when the trial waits for its restart already: that is one error.
        """
        state = self._begun[trial]
        error = redacted(error)  # it is stored, and a library's error may quote a URL with its password
        if state.is_fatal:  # whatever comes after it
            return
        if is_fatal:
            state.error, state.is_fatal = error, True
            return
        if while_starting and state.is_restarting:
            state.is_restarting = False
            return
        self._check_lock()
        state.is_restarting = True
        state.error = error
        state.errors += 1
        state.optuna.set_user_attr(ERRORS, state.errors)
        self._on_event(TrialErrored(trial, error))

    def retries_left(self, trial: int) -> int:
        """How many more errors the trial may meet; negative if it has met one too many."""
        return self.rules.max_retries - self._begun[trial].errors

    def complete(self, trial: int, *, failed: bool = False) -> None:
        """Judge a trial that is not run any longer by its epoch log, and store how it ended.

        A trial that ``failed`` for its last error, with retries left, is proposed again before any other.
        """
        state = self._begun[trial]
        self._ledger.left(trial)
        # What happens to a trial that is being stopped is no further failure.
        failed = failed and state.pruned is None and not state.is_fatal and not state.is_pausing
        if failed and self.retries_left(trial) >= 0:
            state.come_back()
            self._is_exhausted = False
            return
        self._check_lock()
        if state.is_pausing and not state.is_fatal:
            self._set_aside(state)
            return
        judge = self.rules.judge
        rows = epoch_log.read(self.folder.trial(trial), state.decided if state.pruned else None)
        error = (state.error or "unknown error") if failed or state.is_fatal else None
        outcome = judge.outcome(rows, pruned=state.pruned, error=error)
        judge.tell(state.optuna, rows, outcome, retries=state.errors - failed)
        # Where telling failed (a full disk), this is called again, so nothing is forgotten before it succeeded.
        del self._begun[trial]
        self._on_event(TrialFinished(trial, outcome.status, outcome.objectives, outcome.reason))

    def _waiting(self) -> list[TrialState]:
        """Begun trials that nobody runs and that are not paused, in the order of their numbers."""
        paused = self._follower.control.paused
        return [s for number, s in sorted(self._begun.items()) if not s.is_out and number not in paused]

    @property
    def _is_full(self) -> bool:
        """Whether as many trials run as may."""
        limit = self._follower.control.concurrent or self.rules.max_concurrent
        return limit is not None and sum(state.is_out for state in self._begun.values()) >= limit

    def _follow_control(self) -> None:
        """Do as commands have said meanwhile."""
        before = self._follower.control
        if not self._follower.has_changed():
            return
        self._is_exhausted = False  # a trial may have been resumed
        if self._make_pruner is not None and self._follower.control.pruner != before.pruner:
            self._pruner = self._make_pruner(self._follower.control.pruner)
            self._show_past()

    def _set_aside(self, state: TrialState) -> None:
        """Keep a trial that has stopped for when it is resumed, or proposed again for another node."""
        if state.number in self._follower.control.paused:
            state.optuna.set_user_attr(PAUSED, True)
            self._on_event(TrialPaused(state.number))
        state.come_back()
        self._is_exhausted = False

    def _affordable(self, trials: int) -> int:
        if not trials or self._ledger.used_up() is not None:
            return 0
        left = self._ledger.trials_left
        return trials if left is None else min(trials, left)

    def _begin(self, state: TrialState, is_adopted: bool) -> None:
        """Take note that a trial is handed out to be run."""
        state.is_out = True
        if state.optuna.user_attrs.get(PAUSED):
            state.optuna.set_user_attr(PAUSED, False)
        if max(state.logged, state.decided) != self.rules.last_report(state.values):
            self._ledger.promise(state.number, state.values)
        self._on_event(TrialStarted(state.number, state.values, is_adopted))

    def _end_what_waits(self) -> None:
        """End the trials that nobody runs, where the budget leaves nothing to go on with."""
        for state in [state for state in self._begun.values() if not state.is_out]:
            reason = self._ledger.used_up(state.values)
            rows = epoch_log.read(self.folder.trial(state.number)) if reason else []
            is_trained = bool(rows) and rows[-1][EPOCH] == self.rules.last_report(state.values)
            if reason is None or is_trained:  # whose record may still be missing
                continue
            self._begin(state, is_adopted=True)
            for row in rows:
                self.report(state.number, row)
            if state.pruned is None:
                state.pruned = self._cut = reason
            self.complete(state.number)

    def _next(self) -> tuple[TrialState | None, bool]:
        """The next trial, and whether it was proposed before."""
        waiting = self._waiting()
        if waiting:
            return waiting[0], True
        if self.remaining() == 0:
            return None, False
        state = TrialState(begin_queued(self._study) or self._study.ask())
        self._ledger.spent.trials += 1
        self._begun[state.number] = state
        return state, False

    def _draw(self, state: TrialState) -> dict[str, Any]:
        """The trial's values. What it was given before is kept; a driver may have died between two parameters."""
        values: dict[str, Any] | None = state.optuna.user_attrs.get(VALUES)
        if values is None:
            values = self._space.suggest(state.optuna)
            state.optuna.set_user_attr(VALUES, values)
        return values

    def _give_way(self, state: TrialState, twin: int) -> None:
        """End a duplicate before it starts, so that its sampler proposes another."""
        reason = f"the same configuration as trial {twin}, which is not run again"
        state.optuna.set_user_attr(REASON, reason)
        state.optuna.set_user_attr(DUPLICATE_OF, twin)
        self._study.tell(state.number, state=_Optuna.PRUNED)
        self._ledger.spent.trials -= 1
        del self._begun[state.number]

    def _open_ledger(self) -> Ledger:
        per_report = self.rules.epochs if self.rules.runs else None
        logged = {number: state.logged for number, state in self._begun.items()}
        spent = read_spent(self._study, read_records(self._study), logged, per_report)
        return Ledger(
            self.rules.budget,
            self._study,
            spent,
            gpus=self.rules.gpus,
            epochs_per_report=per_report,
            clock=self._clock,
            check_lock=self._check_lock,
        )

    def _show_past(self) -> None:
        """Show the pruner all epochs on which there was a decision."""
        for trial, row in self._known.decided_epochs(self._begun):
            self._pruner.observe(trial, row)
