"""A study's trials as its storage and their epoch logs know them: what earlier drivers left, what is still to begin."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial

from study.search.duplicates import Twins
from study.search.storage.following import FollowedTrials
from study.search.storage.queue import begun
from study.search.storage.records import ERRORS, VALUES, is_replaced, read_records
from study.search.trial_state import TrialState
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow
from taskct_core.schema import EPOCH

_Optuna = optuna.trial.TrialState


class KnownTrials:
    """The trials of a study that is being run; those that have ended are looked at once, however many they are.

    Args:
        study: whose trials they are.
        folder: of the study.
    """

    def __init__(self, study: optuna.Study, folder: StudyFolder) -> None:
        self._study = study
        self._folder = folder
        self._followed = FollowedTrials(study)
        self._twins = Twins()
        self._replaced = 0  # ended trials that do not count towards a study's number of trials
        self._look()

    def left_running(self, *, reports_wait: bool) -> dict[int, TrialState]:
        """By number, the trials that an earlier driver left RUNNING.

        A trial reports again the epochs that it has logged and on which there was no decision for certain, and they are
        judged then.

        Args:
            reports_wait: whether a trial waits for the decision on each epoch: all but the last have one then.
        """
        trials = [self._followed.all[number] for number in self._followed.open]
        return {t.number: self._left(t, reports_wait) for t in trials if t.state == _Optuna.RUNNING}

    def decided_epochs(self, begun: dict[int, TrialState]) -> Iterator[tuple[int, EpochRow]]:
        """Every epoch on which there was a decision, with its trial; ``begun`` says how far those without an end are."""
        for record in read_records(self._study):
            state = begun.get(record.trial)
            last = state.decided if state else record.last_epoch
            for row in epoch_log.read(self._folder.trial(record.trial), last):
                yield record.trial, row

    def twin_of(self, number: int) -> int | None:
        """The earlier trial that stands for this one, if one does."""
        self._look()
        return self._twins.of(number, self._followed.all)

    def unbegun(self, planned: int) -> int:
        """How many trials of a study of ``planned`` have not begun, whatever its budget."""
        self._look()
        trials = self._followed.all
        beyond = self._replaced + sum(is_replaced(trials[number]) for number in self._followed.open)
        return self._followed.count(_Optuna.WAITING) + max(0, planned + beyond - len(trials))

    def _look(self) -> None:
        self._replaced += sum(map(is_replaced, self._followed.look()))

    def _left(self, trial: FrozenTrial, reports_wait: bool) -> TrialState:
        rows = epoch_log.read(self._folder.trial(trial.number))
        decided = rows[:-1] if reports_wait else []
        return TrialState(
            begun(self._study, trial),
            values=trial.user_attrs.get(VALUES, {}),
            errors=trial.user_attrs.get(ERRORS, 0),
            logged=len(rows),
            decided=decided[-1][EPOCH] if decided else 0,
        )
