"""How a trial ended, judged by its epoch log, and how Optuna's storage is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from study.search.storage.records import CURVES, LAST_EPOCH, OBJECTIVES, REASON, RETRIES
from study.trials import epoch_log
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.schema import COMPLETE, EPOCH, FAIL, PRUNED

_UNTOLD = {RETRIES: 0, REASON: None}  # what a trial without these attributes is read as


@dataclass(frozen=True)
class Outcome:
    """The final state of a trial."""

    status: str  # COMPLETE, PRUNED or FAIL
    objectives: dict[str, float]  # those that are numbers at the epoch it is judged by
    reason: str | None  # why it was pruned or failed


@dataclass(frozen=True)
class Judge:
    """What a study's trials are judged by.

    Attributes:
        objectives: columns of the epoch log, in the order of the study's directions.
        constraints: column -> upper bound.
    """

    objectives: Sequence[str]
    constraints: Mapping[str, float]

    def outcome(self, rows: list[EpochRow], *, pruned: str | None, error: str | None) -> Outcome:
        """How a trial ended.

        Args:
            rows: its epochs, as far as they count.
            pruned: why it was stopped early, if it was.
            error: what made it fail, if it did.
        """
        last = epoch_log.kept_row(rows) if rows else EpochRow()
        scores = finite_numbers(last)
        objectives = {name: scores[name] for name in self.objectives if name in scores}
        if error is not None:
            return Outcome(FAIL, objectives, error)
        if not rows and pruned is not None:
            return Outcome(PRUNED, {}, pruned)
        if not rows:
            return Outcome(FAIL, {}, "the trial ended without reporting an epoch")
        for name in [*self.objectives, *self.constraints]:
            if name not in scores:
                return Outcome(FAIL, objectives, f"{name} is {last.get(name)} at epoch {last[EPOCH]}")
        return Outcome(PRUNED if pruned else COMPLETE, objectives, pruned)

    def tell(self, trial: optuna.Trial, rows: list[EpochRow], outcome: Outcome, retries: int) -> None:
        """Bring a trial to its final state in storage, with what Optuna's states have no room for.

        The state comes last: a driver that dies before it leaves a trial that is judged once more. Each write is forced
        to disk, so what storage says already, or says by having nothing, is not written.
        """
        attributes = {
            OBJECTIVES: outcome.objectives,
            LAST_EPOCH: rows[-1][EPOCH] if rows else 0,
            CURVES: {name: [row.get(name) for row in rows] for name in self.objectives},
            RETRIES: retries,
            REASON: outcome.reason,
        }
        known = _UNTOLD | trial.user_attrs
        for name, value in attributes.items():
            if name not in known or known[name] != value:
                trial.set_user_attr(name, value)
        self._tell_samplers(trial, rows)
        if outcome.status == COMPLETE:
            trial.study.tell(trial.number, [outcome.objectives[name] for name in self.objectives])
        else:
            trial.study.tell(trial.number, state=TrialState[outcome.status])

    def _tell_samplers(self, trial: optuna.Trial, rows: list[EpochRow]) -> None:
        """Store what Optuna's samplers read of a trial beside its values."""
        scores = finite_numbers(epoch_log.kept_row(rows)) if rows else {}
        for name, bound in self.constraints.items():
            if name in scores:
                trial.set_constraint(name, scores[name] - bound)
        if len(self.objectives) == 1:
            for row in rows:
                score = finite_numbers(row).get(self.objectives[0])
                if score is not None:
                    trial.report(score, step=row[EPOCH])
