"""What a study's storage knows of each trial, as plain records: for results, status and messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.search.storage.following import FollowedTrials, Front
from taskct_core.contracts.files import HALF_A_LETTER, is_unicode
from taskct_core.contracts.rows import fits_a_table
from taskct_core.errors import StudyError

# User attributes of an Optuna trial.
VALUES = "values"  # overrides of a TrialConfig, with conditional parameters nested
OBJECTIVES = "objectives"  # objective column -> value at the epoch that is kept, whatever the trial's state
LAST_EPOCH = "last_epoch"
CURVES = "curves"  # objective column -> value at each epoch
REASON = "reason"  # why the trial was pruned or failed
RETRIES = "retries"  # how often the trial was started again after an error
ERRORS = "errors"  # how many errors the trial has met so far
PAUSED = "paused"  # whether the trial stopped because it is paused
REBUILT = "rebuilt"  # that the trial was entered again after the storage was lost: its times are not known
DUPLICATE_OF = "duplicate_of"  # the earlier trial of the same values, which stands for this one
PRIORITY = "priority"  # of a queued trial, 0 where there is none: the highest begins first
RETRY_OF = "retry_of"  # the failed trial that this one repeats
ENQUEUED = "enqueued"  # the point of StudyConfig.enqueue that this trial tries, as JSON

FIXED = "fixed_params"  # system attribute of an Optuna trial: the parameters it was enqueued with

# User attributes of the Optuna study.
FINGERPRINT = "fingerprint"  # what must not change while it lives, as texts
# What its drivers have spent; see study.search.budget.
SPENT = "spent"  # {"seconds": ..., "gpu_hours": ..., "ended_by": ...}
# What its latest driver set out to do.
PLAN = "plan"  # {"trials": ..., "max_concurrent": ..., "epochs": ..., "timeout": ..., "trial_timeout": ..., "budget": ..., "epochs_per_report": ...}

_Check = Callable[[Any], bool]


def _is(kind: type | UnionType) -> _Check:
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """One that a table can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and fits_a_table(value)


def _list_of(check: _Check) -> _Check:
    return lambda values: isinstance(values, list) and all(map(check, values))


def _mapping_to(check: _Check) -> _Check:
    return lambda values: isinstance(values, dict) and all(map(check, values.values()))


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_TRIAL_ATTRIBUTES: dict[str, _Check] = {
    VALUES: _is(dict),
    OBJECTIVES: _mapping_to(_is_number),
    LAST_EPOCH: _is(int),
    CURVES: _mapping_to(_list_of(_or_none(_is_number))),
    REASON: _or_none(_is(str)),
    RETRIES: _is(int),
    ERRORS: _is(int),
    PAUSED: lambda value: isinstance(value, bool),
    DUPLICATE_OF: _is(int),
    RETRY_OF: _is(int),
    ENQUEUED: _is(str),
    PRIORITY: _is(int),
}
_PLAN: dict[str, _Check] = {
    "trials": _is(int),
    "max_concurrent": _is(int),
    "epochs": _or_none(_is(int)),
    "timeout": _or_none(_is_number),
    "trial_timeout": _or_none(_is_number),
    "budget": _mapping_to(_or_none(_is_number)),
    "epochs_per_report": _or_none(_is(int)),
}
_SPENT: dict[str, _Check] = {
    "seconds": _is_number,
    "gpu_hours": _is_number,
    "ended_by": _or_none(_is(str)),
}

_VALUES, _STEPS = _list_of(_is_number), _mapping_to(_is_number)

WAITING = "WAITING"  # queued; the other states are named as in the schema


@dataclass(frozen=True)
class TrialRecord:
    """One trial as storage has it."""

    trial: int
    status: str  # WAITING, RUNNING, COMPLETE, PRUNED or FAIL
    values: dict[str, Any]  # overrides of the trial's configuration
    objectives: dict[str, float]
    last_epoch: int  # 0 before the first
    reason: str | None
    retries: int
    retry_of: int | None
    duplicate_of: int | None  # a trial of the same values that was run instead
    feasible: bool  # whether it keeps every constraint
    paused: bool = False  # whether it stopped after an epoch because it was paused


def read_records(study: optuna.Study) -> list[TrialRecord]:
    """Every trial of the study, in the order of their numbers.

    Raises:
        StudyError: if one holds what no driver wrote.
    """
    return [_record(trial, len(study.directions)) for trial in study.get_trials(deepcopy=False)]


def check_contents(study: optuna.Study) -> None:
    """Whether a study that was just opened holds what its drivers wrote; a damaged storage may still be readable.

    Raises:
        StudyError: naming the value that is of another kind.
    """
    names = study.metric_names
    if names is not None and not (_list_of(_is(str))(names) and len(names) == len(study.directions)):
        raise not_as_written(f"{names!r} as the names of {len(study.directions)} objectives")
    fingerprint = study.user_attrs.get(FINGERPRINT, {})
    if not _mapping_to(_is(str))(fingerprint):
        raise not_as_written(f"{FINGERPRINT} = {fingerprint!r}")
    for attribute, checks in ((PLAN, _PLAN), (SPENT, _SPENT)):
        held = study.user_attrs.get(attribute, {})
        if not isinstance(held, dict) or any(n in held and not check(held[n]) for n, check in checks.items()):
            raise not_as_written(f"{attribute} = {held!r}")
    read_records(study)
    for trial in study.get_trials(deepcopy=False):
        if not is_unicode(json.dumps([trial.user_attrs, trial.params], ensure_ascii=False)):
            raise not_as_written(f"a text of trial {trial.number} which {HALF_A_LETTER}")


def not_as_written(received: str) -> StudyError:
    """The error of a storage that can be read, but holds something else."""
    return StudyError(
        "a study's storage must hold what its driver wrote",
        received,
        "Restore the storage from a backup, or make it again with `taskct study rebuild`, which sets a journal aside; "
        "of a database the study must be deleted first (`optuna delete-study`).",
    )


def _wrong_values(trial: FrozenTrial, objectives: int) -> Iterator[tuple[str, Any]]:
    """What a trial holds that no driver writes, by name."""
    for name, value in trial.user_attrs.items():
        if name in _TRIAL_ATTRIBUTES and not _TRIAL_ATTRIBUTES[name](value):
            yield name, value
    values = trial.values
    if trial.state == TrialState.COMPLETE:
        fit = _VALUES(values) and len(values) == objectives
    else:
        fit = values is None or _VALUES(values)
    if not fit:
        yield "values", values
    for name, value in trial.params.items():
        if not (_is_number(value) or isinstance(trial.distributions[name], CategoricalDistribution)):
            yield name, value
    if not _STEPS(trial.intermediate_values):
        yield "intermediate values", trial.intermediate_values
    if not isinstance(trial.system_attrs.get(FIXED, {}), dict):
        yield FIXED, trial.system_attrs[FIXED]


def _record(trial: FrozenTrial, objectives: int) -> TrialRecord:
    for name, value in _wrong_values(trial, objectives):
        raise not_as_written(f"{name} = {value!r} of trial {trial.number}")
    attributes = trial.user_attrs
    return TrialRecord(
        trial=trial.number,
        status=trial.state.name,
        values=attributes.get(VALUES, {}),
        objectives=attributes.get(OBJECTIVES, {}),
        last_epoch=attributes.get(LAST_EPOCH, 0),
        reason=attributes.get(REASON),
        retries=attributes.get(RETRIES, 0),
        retry_of=attributes.get(RETRY_OF),
        duplicate_of=attributes.get(DUPLICATE_OF),
        paused=attributes.get(PAUSED, False),
        feasible=all(violation <= 0 for violation in trial.constraints.values()),
    )


def is_replaced(trial: TrialRecord | FrozenTrial) -> bool:
    """Whether a trial does not count towards ``study.trials``: it repeats a failed one, or is a duplicate."""
    if isinstance(trial, TrialRecord):
        return trial.retry_of is not None or trial.duplicate_of is not None
    return not {RETRY_OF, DUPLICATE_OF}.isdisjoint(trial.user_attrs)


def planned_count(records: Sequence[TrialRecord]) -> int:
    """How many of the trials count towards ``study.trials``."""
    return sum(not is_replaced(record) for record in records)


class FollowedRecords:
    """The records of a study that may be running: of what has ended each is read once, however long the study is.

    Attributes:
        trials: Optuna's, by number, as they were when last looked at.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._objectives = len(study.directions)
        self._followed = FollowedTrials(study)
        self._front = Front([-1.0 if way == StudyDirection.MAXIMIZE else 1.0 for way in study.directions])
        self._best: dict[int, TrialRecord] = {}  # those on the front

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        return self._followed.all

    def look(self) -> list[TrialRecord]:
        """Look again; return the records of the trials that ended since, in the order in which they did."""
        ended = [_record(trial, self._objectives) for trial in self._followed.look()]
        for record in ended:
            if record.status == TrialState.COMPLETE.name and record.feasible:
                self._best[record.trial] = record
                self._front.add(record.trial, self.trials[record.trial].values)
        self._best = {number: self._best[number] for number in sorted(self._front.numbers)}
        return ended

    def open(self) -> list[TrialRecord]:
        """Those of trials without a final state."""
        return [_record(self.trials[number], self._objectives) for number in self._followed.open]

    def front(self) -> list[TrialRecord]:
        """Completed, feasible trials that no other dominates, by number."""
        return list(self._best.values())


def best_records(study: optuna.Study) -> list[TrialRecord]:
    """The front so far: completed, feasible trials that no other dominates."""
    records = FollowedRecords(study)
    records.look()
    return records.front()
