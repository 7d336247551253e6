"""A study as its sampler sees it that began with another study's trials."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override


class StudyWithPast(optuna.Study):
    """A study with trials before its own. Samplers read trials by Optuna's private way.

    Args:
        study: whose trials follow.
        past: completed trials of numbers below 0.
    """

    def __init__(self, study: optuna.Study, past: Sequence[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, sampler=study.sampler)
        self._own = study
        self._past = past

    @override
    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    @override
    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        past = [trial for trial in self._past if states is None or trial.state in states]
        own = self._own._get_trials(deepcopy, states, use_cache)
        return [*(copy.deepcopy(past) if deepcopy else past), *own]
