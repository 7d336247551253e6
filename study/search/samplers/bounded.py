"""A history of bounded length for samplers whose model costs more with every trial that it is fitted to.

Of the trials that ended, a sampler sees all until there are twice as many as the limit, and then a part of them: the
best, from which the good region is learned; the latest; and some of all the others, spread evenly over the study, so
that the model knows where it was bad. Trials that run are always seen. Which part it is follows from the storage alone:
trials are taken in the order in which they ended, as many at a time, so that a study that was interrupted goes on with
the same part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from study.search.dominance import crowding_distances, non_domination_ranks
from study.search.samplers.seen_study import SeenStudy
from study.search.storage.following import FollowedTrials


class BoundedHistory:
    """What a sampler sees of a study.

    Args:
        limit: of ended trials after they were thinned out; twice as many make them be thinned out again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[FrozenTrial] = []  # in the order in which they ended
        self._followed: FollowedTrials | None = None
        self._seen: tuple[int, SeenStudy] | None = None  # by which proposal

    def of(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        """The study with what the sampler may see of it; the same all through the proposal of a trial."""
        if self._seen is None or self._seen[0] != trial.number:
            self._seen = (trial.number, self._look(study))
        return self._seen[1]

    def _look(self, study: optuna.Study) -> SeenStudy:
        self._followed = self._followed or FollowedTrials(study)
        for ended in self._followed.look():
            if ended.state != TrialState.FAIL:
                self._kept.append(ended)
                if len(self._kept) > 2 * self._limit:
                    self._kept = thinned(self._kept, study.directions, self._limit)
        running = [self._followed.all[place] for place in self._followed.open]
        seen = sorted([*self._kept, *running], key=lambda trial: trial.number)
        return SeenStudy(study, lambda _use_cache: seen)


class BoundedSampler(BaseSampler):
    """Delegates to a sampler that sees a bounded history."""

    def __init__(self, sampler: BaseSampler, history: BoundedHistory) -> None:
        self._sampler = sampler
        self._history = history

    @override
    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._history.of(study, trial), trial)

    @override
    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._history.of(study, trial), trial, search_space)

    @override
    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        bounded = self._history.of(study, trial)
        return self._sampler.sample_independent(bounded, trial, param_name, param_distribution)

    @override
    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def thinned(trials: list[FrozenTrial], directions: Sequence[StudyDirection], limit: int) -> list[FrozenTrial]:
    """At most ``limit`` of the trials, a third each: the latest, the best of the others, and some spread over the rest.

    Args:
        trials: that ended, in the order in which they did; none that failed.
        directions: of the study.
    """
    third = limit // 3
    earlier, latest = trials[:-third], trials[-third:]
    order = preference(earlier, directions)
    best, rest = order[:third], np.sort(order[third:])
    spread = rest[np.linspace(0, len(rest) - 1, limit - 2 * third).round().astype(int)]
    return [earlier[index] for index in np.sort([*best, *spread])] + latest


def preference(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> np.ndarray:
    """The trials' places from the best on, in the order in which Optuna's TPE prefers them.

    First completed trials by non-domination rank and then the less crowded, next pruned ones by how far they came, last
    those that violate constraints, by how much.
    """
    keys = np.zeros((len(trials), 4))  # compared from the left
    completed = []
    for place, trial in enumerate(trials):
        violation = sum(max(0.0, value) for value in trial.constraints.values())
        if violation > 0:
            keys[place, :2] = 2, violation
        elif trial.state == TrialState.PRUNED:
            keys[place, :3] = 1, *_progress(trial, directions)
        else:
            completed.append(place)
    if completed:
        signs = np.array([1.0 if way == StudyDirection.MAXIMIZE else -1.0 for way in directions])
        points = signs * np.array([trials[place].values for place in completed])
        ranks = non_domination_ranks(points)
        keys[completed, 1] = ranks
        for rank in np.unique(ranks):
            peers = np.flatnonzero(ranks == rank)
            keys[np.array(completed)[peers], 2] = -crowding_distances(points[peers])
    return np.lexsort(keys.T[::-1])


def _progress(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> tuple[float, float]:
    """Of a pruned trial: its last step, and its value there; lower is better."""
    if not trial.intermediate_values:
        return 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return -float(step), -value if directions[0] == StudyDirection.MAXIMIZE else value
