"""Which proposals would only repeat an earlier trial: without a seed of its own, a trial gives the same numbers again."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from study.search.storage.records import DUPLICATE_OF, FIXED, VALUES

_IN_A_ROW = 5


def twin_of(number: int, trials: list[FrozenTrial]) -> int | None:
    """The earlier trial with the values of trial ``number``, if it is to be left out for that.

    ``None`` once some duplicates came in a row: the space seems to have nothing else to offer. What was asked for by
    enqueueing is never a duplicate. All of this is told by storage, so that an adopted trial is judged as before.
    """
    proposed = trials[number]
    if FIXED in proposed.system_attrs:
        return None
    before = trials[:number]
    run = [t for t in before if DUPLICATE_OF not in t.user_attrs and t.state != TrialState.FAIL]
    values = proposed.user_attrs.get(VALUES)
    twin = next((trial.number for trial in run if trial.user_attrs.get(VALUES) == values), None)
    return None if twin is None or _has_given_up(before, run) else twin


def _has_given_up(before: list[FrozenTrial], run: list[FrozenTrial]) -> bool:
    """Whether duplicates are run by now: some came in a row, or one was drawn and run already."""
    latest = before[-_IN_A_ROW:]
    if len(latest) == _IN_A_ROW and all(DUPLICATE_OF in trial.user_attrs for trial in latest):
        return True
    drawn = [repr(trial.user_attrs.get(VALUES)) for trial in run if FIXED not in trial.system_attrs]
    return len(set(drawn)) < len(drawn)
