"""A study as its sampler sees it: with other trials than it has, some left out or another study's before its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override


class SeenStudy(optuna.Study):
    """A study of which samplers see chosen trials. They read them by Optuna's private way.

    Args:
        study: whose name, storage and sampler these are.
        seen: whether Optuna's cache of trials may be used -> the trials, by number, not to be changed.
    """

    def __init__(self, study: optuna.Study, seen: Callable[[bool], Sequence[FrozenTrial]]) -> None:
        super().__init__(study.study_name, study._storage, sampler=study.sampler)
        self._seen = seen

    @override
    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    @override
    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        seen = [trial for trial in self._seen(use_cache) if states is None or trial.state in states]
        return copy.deepcopy(seen) if deepcopy else seen


def with_past(study: optuna.Study, past: Sequence[FrozenTrial]) -> SeenStudy:
    """The study with completed trials of another one, of numbers below 0, before its own."""
    return SeenStudy(
        study, lambda use_cache: [*past, *study._get_trials(deepcopy=False, use_cache=use_cache)]
    )
