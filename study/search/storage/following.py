"""A study's trials followed while they come: what has its final state is looked at once, however long the study is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from taskct_core.dominance import dominates


class FollowedTrials:
    """A study's trials as they were when last looked at.

    Attributes:
        all: every trial, by number (after those of another study, where a sampler sees such).
        open: places in ``all`` of those without a final state.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._past = 0  # trials of another study
        self.all: list[FrozenTrial] = []
        self.open: list[int] = []

    def look(self) -> list[FrozenTrial]:
        """Look again; return the trials that have come to a final state since, in the order in which they did."""
        known = len(self.all)
        self._read()
        watched = [*self.open, *range(known, len(self.all))]
        self.open = [place for place in watched if not self.all[place].state.is_finished()]
        ended = [self.all[place] for place in watched if self.all[place].state.is_finished()]
        return sorted(ended, key=lambda trial: (trial.datetime_complete or datetime.min, trial.number))

    def _read(self) -> None:
        """Bring ``all`` up to date.

        Optuna's list of all trials takes the longer the more there are. A journal is held in memory and answers for
        single trials at once; a database would be asked for each, and answers for all together sooner.
        """
        storage = self._study._storage
        if not (self.all and isinstance(storage, JournalStorage)):
            self.all = self._study.get_trials(deepcopy=False)
            self._past = max(0, -self.all[0].number) if self.all else 0  # of another study they end at -1
            return
        for place in self.open:
            self.all[place] = storage.get_trial(self.all[place]._trial_id)
        with suppress(KeyError):  # Optuna's answer to a number that no trial has yet
            while True:
                number = len(self.all) - self._past
                new = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
                self.all.append(storage.get_trial(new))

    def count(self, state: TrialState) -> int:
        """How many open trials are in a state that is not final."""
        return sum(self.all[place].state == state for place in self.open)


class Front:
    """Points that no other dominates, kept while points come; equal ones stay beside each other.

    Args:
        signs: -1 for an objective to be maximized, 1 for one to be minimized.
    """

    def __init__(self, signs: Sequence[float]) -> None:
        self._signs = np.array(signs)
        self._costs: NDArray[np.float64] = np.empty((0, len(signs)))
        self.numbers: list[int] = []  # whose the points are

    def add(self, number: int, values: Sequence[float]) -> None:
        """Take note of the point of trial ``number``."""
        cost = self._signs * np.array(values, dtype=float)
        if dominates(self._costs, cost).any():
            return
        stays = ~dominates(cost, self._costs)
        self._costs = np.vstack([self._costs[stays], cost])
        self.numbers = [kept for kept, is_kept in zip(self.numbers, stays, strict=True) if is_kept]
        self.numbers.append(number)
