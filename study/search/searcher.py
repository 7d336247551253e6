"""The bridge to Ray Tune: a searcher that takes trials from the ledger and returns their outcomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.tune.search import Searcher

from study.monitor.events import OnEvent, TrialErrored, TrialFinished, TrialStarted
from study.search.ledger import Ledger, Pruning
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import TaskctError


class StudySearcher(Searcher):
    """Gives Ray Tune the study's trials, and the study what became of them.

    The scheduler tells it in between why it stopped a trial (:meth:`note_pruned`) and what error a trial met
    (:meth:`note_error`): Tune's own messages to a searcher carry neither.

    Args:
        max_retries: of a trial, however many drivers it has seen. Tune retries by itself, but gives up a trial whose
            process dies while it is started, such as a warm one that was killed between two trials.
    """

    def __init__(self, ledger: Ledger, folder: Path, on_event: OnEvent, max_retries: int) -> None:
        super().__init__()
        self._max_retries = max_retries
        self._ledger = ledger
        self._folder = folder
        self._on_event = on_event
        self._numbers: dict[str, int] = {}  # Tune's trial id -> Optuna's trial number
        self._pruned: dict[int, Pruning] = {}
        self._errors: dict[int, str] = {}
        self._error_count: Counter[int] = Counter()
        self._fatal: set[int] = set()
        # Trials that met an error and, as far as is known, have not started again.
        self._restarting: set[int] = set()
        self._exhausted = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its parts to restore them; a study is restored from Optuna's storage instead

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        proposal = None if self._exhausted else self._ledger.propose()
        if proposal is None:
            self._exhausted = True  # Tune asks again and again; the storage need not be read each time
            # A trial that still runs may have to be proposed again.
            return None if self._numbers else Searcher.FINISHED
        self._numbers[trial_id] = proposal.trial
        self._error_count[proposal.trial] = proposal.errors
        self._on_event(TrialStarted(proposal.trial, proposal.values, proposal.adopted))
        return {
            "trial": proposal.trial,
            "folder": str(StudyFolder(self._folder).trial(proposal.trial)),
            "values": proposal.values,
        }

    def number_of(self, trial_id: str) -> int:
        return self._numbers[trial_id]

    def errors_of(self, trial_id: str) -> int:
        """How many errors the trial has met in its life."""
        return self._error_count[self._numbers[trial_id]]

    def note_fatal(self, trial_id: str, reason: str) -> None:
        """The trial met an error that it would meet again."""
        number = self._numbers[trial_id]
        self._errors[number] = reason
        self._fatal.add(number)

    def note_pruned(self, trial_id: str, pruning: Pruning) -> None:
        self._pruned[self._numbers[trial_id]] = pruning

    def note_error(self, trial_id: str, error: BaseException | str | None, is_waiting: bool = False) -> None:
        """Store an error that a trial met. A process that dies is reported twice if Tune had two calls to it open, the
        second time when the trial waits for its restart already (``is_waiting``): that is one error.
        """
        number = self._numbers[trial_id]
        if is_waiting and number in self._restarting:
            self._restarting.discard(number)
            return
        self._restarting.add(number)
        self._errors[number] = reason_of(error)
        self._error_count[number] += 1
        self._ledger.note_errors(number, self._error_count[number])
        self._on_event(TrialErrored(number, self._errors[number]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # Tune calls again if telling failed (a full disk), so nothing is forgotten before it succeeded.
        number = self._numbers[trial_id]
        errors = self._error_count[number]
        if error and errors <= self._max_retries and number not in self._fatal:
            self._ledger.give_back(number)
            self._exhausted = False
            self._forget(trial_id)
            return
        outcome = self._ledger.finish(
            number,
            pruned=self._pruned.get(number),
            error=self._errors.get(number, "unknown error") if error or number in self._fatal else None,
            retries=errors - 1 if error else errors,
        )
        self._forget(trial_id)
        self._on_event(TrialFinished(number, outcome.status, outcome.objectives, outcome.reason))

    def _forget(self, trial_id: str) -> None:
        number = self._numbers.pop(trial_id)
        self._pruned.pop(number, None)
        self._errors.pop(number, None)
        self._fatal.discard(number)
        self._restarting.discard(number)
        del self._error_count[number]


def reason_of(error: BaseException | str | None) -> str:
    """The message of a failure: ours as it is, others as ``Type: message``."""
    if isinstance(error, RayTaskError):
        error = error.cause
    if isinstance(error, TaskctError):
        return str(error)
    if isinstance(error, RayError):
        return f"the trial's process died: {str(error).splitlines()[0]}"
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}"
    return str(error) if error else "unknown error"
