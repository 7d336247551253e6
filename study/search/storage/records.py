"""What a study's storage knows of each trial, as plain records: for results, status and messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from taskct_core.errors import StudyError

# User attributes of an Optuna trial.
VALUES = "values"  # overrides of a TrialConfig, with conditional parameters nested
OBJECTIVES = "objectives"  # objective column -> value at the epoch that is kept, whatever the trial's state
LAST_EPOCH = "last_epoch"
CURVES = "curves"  # objective column -> value at each epoch
REASON = "reason"  # why the trial was pruned or failed
RETRIES = "retries"  # how often the trial was started again after an error
ERRORS = "errors"  # how many errors the trial has met so far
REBUILT = "rebuilt"  # that the trial was entered again after the storage was lost: its times are not known
DUPLICATE_OF = "duplicate_of"  # the earlier trial of the same values, which stands for this one
RETRY_OF = "retry_of"  # the failed trial that this one repeats
ENQUEUED = "enqueued"  # the point of StudyConfig.enqueue that this trial tries, as JSON

# User attribute of the Optuna study: what its latest driver set out to do.
PLAN = "plan"  # {"trials": ..., "max_concurrent": ..., "epochs": ..., "timeout": ..., "trial_timeout": ...}

_KINDS: dict[str, type | UnionType] = {
    VALUES: dict,
    OBJECTIVES: dict,
    LAST_EPOCH: int,
    CURVES: dict,
    REASON: str | None,
    RETRIES: int,
    ERRORS: int,
    DUPLICATE_OF: int,
    RETRY_OF: int,
}

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


def read_records(study: optuna.Study) -> list[TrialRecord]:
    """Every trial of the study, in the order of their numbers."""
    return [_record(trial) for trial in study.get_trials(deepcopy=False)]


def _record(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    for name, kind in _KINDS.items():
        if name in attributes and not isinstance(attributes[name], kind):
            raise StudyError(
                "a study's storage must hold what its driver wrote",
                f"{name} = {attributes[name]!r} of trial {trial.number}",
                "Restore the storage from a backup, or make it again with `taskct study rebuild`.",
            )
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
        feasible=all(violation <= 0 for violation in trial.constraints.values()),
    )


def planned_count(records: Sequence[TrialRecord]) -> int:
    """How many of the trials count towards ``study.trials``: not repeats of failed ones, nor duplicates."""
    return sum(1 for record in records if record.retry_of is None and record.duplicate_of is None)


def best_records(study: optuna.Study) -> list[TrialRecord]:
    """The front so far: completed, feasible trials that no other dominates."""
    if not any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    return [_record(trial) for trial in sorted(study.best_trials, key=lambda trial: trial.number)]
