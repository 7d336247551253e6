"""Which proposals would only repeat an earlier trial: without a seed of its own, a trial gives the same numbers again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from study.search.storage.records import DUPLICATE_OF, FIXED, VALUES

_IN_A_ROW = 5


class Twins:
    """Finds the earlier trial of the same values; each trial's values are looked at once.

    A proposal has no twin once some duplicates came in a row: the space seems to have nothing else to offer. What was
    asked for by enqueueing is never a duplicate. All of this is told by storage, so that an adopted trial is judged as
    before.
    """

    def __init__(self) -> None:
        self._known = 0  # trials that were looked at
        self._undrawn: list[int] = []  # of them, those that had no values then
        self._alike: dict[Hashable, list[int]] = {}  # values -> trials that have them
        self._repeated: set[Hashable] = set()  # values that several trials have

    def of(self, number: int, trials: Sequence[FrozenTrial]) -> int | None:
        """The trial that stands for trial ``number``, if that is to be left out for it."""
        self._follow(trials)
        proposed = trials[number]
        if FIXED in proposed.system_attrs:
            return None
        run = self._run(_key(proposed.user_attrs.get(VALUES)), number, trials)
        return run[0] if run and not self._has_given_up(number, trials) else None

    def _follow(self, trials: Sequence[FrozenTrial]) -> None:
        new = [*self._undrawn, *range(self._known, len(trials))]
        self._known = len(trials)
        self._undrawn = [number for number in new if VALUES not in trials[number].user_attrs]
        for number in new:
            if VALUES in trials[number].user_attrs:
                key = _key(trials[number].user_attrs[VALUES])
                alike = self._alike.setdefault(key, [])
                alike.append(number)
                if len(alike) > 1:
                    self._repeated.add(key)

    def _run(self, values: Hashable, number: int, trials: Sequence[FrozenTrial]) -> list[int]:
        """The trials before trial ``number`` that have the values and are run for them."""
        return sorted(
            other for other in self._alike.get(values, ()) if other < number and _is_run(trials[other])
        )

    def _has_given_up(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether duplicates are run by now: some came in a row, or one was drawn and run already."""
        latest = trials[max(0, number - _IN_A_ROW) : number]
        if len(latest) == _IN_A_ROW and all(DUPLICATE_OF in trial.user_attrs for trial in latest):
            return True
        return any(
            sum(FIXED not in trials[other].system_attrs for other in self._run(values, number, trials)) > 1
            for values in self._repeated
        )


def _is_run(trial: FrozenTrial) -> bool:
    return DUPLICATE_OF not in trial.user_attrs and trial.state != TrialState.FAIL


def _key(values: Any) -> Hashable:  # noqa: ANN401  whatever a configuration may hold
    """What is equal for equal values."""
    if isinstance(values, dict):
        return frozenset((name, _key(value)) for name, value in values.items())
    return tuple(map(_key, values)) if isinstance(values, list) else values
