"""Trials that are tried before the sampler proposes any: given points, another study's front, repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from study.search.space import SearchSpace
from study.search.storage.opening import open_study
from study.search.storage.records import ENQUEUED, PRIORITY, RETRY_OF, best_records, read_records
from taskct_core.errors import ConfigError
from taskct_core.schema import FAIL


def enqueue_points(study: optuna.Study, space: SearchSpace, points: list[dict[str, Any]]) -> int:
    """Queue the points that were not queued before; those that still wait get the priority that they are given now.

    Args:
        points: overrides of a TrialConfig, and its priority in the queue; dimensions that a point leaves out are drawn
            by the sampler.

    Returns:
        How many points have been queued in the study's life.

    Raises:
        ConfigError: if a point does not lie in the search space.
    """
    asked = [(space.parameters_of(_values_of(point)), point.get(PRIORITY, 0)) for point in points]
    trials = {trial.user_attrs.get(ENQUEUED): trial for trial in study.get_trials(deepcopy=False)}
    queued = trials.keys() - {None}
    for parameters, priority in asked:
        text = json.dumps(parameters, sort_keys=True)
        if text not in queued:
            study.enqueue_trial(parameters, user_attrs={ENQUEUED: text, PRIORITY: priority})
            queued.add(text)
        elif text in trials and _waits_otherwise(trials[text], priority):
            study._storage.set_trial_user_attr(trials[text]._trial_id, PRIORITY, priority)
    return len(queued)


def begin_queued(study: optuna.Study) -> optuna.Trial | None:
    """Begin the queued trial of the highest priority, the first of several; None if nothing is queued.

    ``study.ask`` takes the first, whatever its priority, and Optuna has no public way to another.
    """
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not waiting:
        return None
    first = min(waiting, key=lambda trial: (-trial.user_attrs.get(PRIORITY, 0), trial.number))
    study._storage.set_trial_state_values(first._trial_id, state=TrialState.RUNNING)
    return begun(study, first)


def begun(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """A trial that was begun, to tell the study of; Optuna has no public way to it from its record."""
    return optuna.Trial(study, trial._trial_id)


def enqueue_matching(
    study: optuna.Study, space: SearchSpace, points: list[dict[str, Any]], values: dict[str, Any]
) -> None:
    """Queue the first of the points that a trial of these values tried, so that :func:`enqueue_points` does not."""
    queued = {trial.user_attrs.get(ENQUEUED) for trial in study.get_trials(deepcopy=False)}
    for point in points:
        asked = _values_of(point)
        text = json.dumps(space.parameters_of(asked), sort_keys=True)
        if text not in queued and _agrees(asked, values):
            enqueue_points(study, space, [point])
            return


def front_of(folder: Path, space: SearchSpace) -> list[dict[str, Any]]:
    """The points of another study's front that lie in ``space``; its other dimensions are left out.

    Raises:
        StudyError: if ``folder`` holds no study.
        ConfigError: if no point of its front lies in the space.
    """
    front = [_shared(record.values, space) for record in best_records(open_study(folder))]
    points = [point for point in front if _lies_in(space, point)]
    if not points:
        raise ConfigError(
            "the front of study.enqueue_front_of must share points with the search space",
            f"{folder}: {len(front)} points on its front, none in the space",
            "Name another study, widen the space, or leave enqueue_front_of out.",
        )
    return points


def enqueue_failed(study: optuna.Study) -> list[int]:
    """Queue every failed trial once more, from its beginning, as a new trial; return their numbers."""
    records = read_records(study)
    repeated = {record.retry_of for record in records}
    failed = [r.trial for r in records if r.status == FAIL and r.trial not in repeated]
    trials = study.get_trials(deepcopy=False)
    for number in failed:
        priority = trials[number].user_attrs.get(PRIORITY, 0)
        study.enqueue_trial(trials[number].params, user_attrs={RETRY_OF: number, PRIORITY: priority})
    return failed


def _waits_otherwise(trial: FrozenTrial, priority: int) -> bool:
    return trial.state == TrialState.WAITING and trial.user_attrs.get(PRIORITY, 0) != priority


def _values_of(point: dict[str, Any]) -> dict[str, Any]:
    """A point of ``study.enqueue`` without its priority."""
    return {name: value for name, value in point.items() if name != PRIORITY}


def _agrees(point: dict[str, Any], values: dict[str, Any]) -> bool:
    """Whether the values have all that the point asks for."""
    return all(
        _agrees(wanted, values.get(name, {})) if isinstance(wanted, dict) else values.get(name) == wanted
        for name, wanted in point.items()
    )


def _shared(values: dict[str, Any], space: SearchSpace) -> dict[str, Any]:
    return {
        name: value for name, value in values.items() if name.removesuffix("_parameters") in space.dimensions
    }


def _lies_in(space: SearchSpace, point: dict[str, Any]) -> bool:
    try:
        return bool(space.parameters_of(point))
    except ConfigError:
        return False
