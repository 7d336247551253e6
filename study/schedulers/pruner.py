"""What every pruner is: plain state over (trial, epoch, values), rebuilt at any time from the epoch logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Pruner(Protocol):
    """Decides which trials stop early.

    Every epoch of a trial is shown to it once, in the trial's order: :meth:`observe` for epochs that an
    earlier driver decided on, :meth:`reason_to_stop` for new ones.
    """

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        """Take note of a trial's epoch without deciding."""

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        """Take note of a trial's epoch; return why the trial should stop now, or ``None`` to go on."""


class NeverPrune:
    """Lets every trial run to its end."""

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        pass

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        return None
