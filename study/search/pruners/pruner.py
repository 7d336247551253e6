"""What every pruner is: plain state over (trial, epoch, values), rebuilt at any time from the epoch logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from study.search.config import StudyConfig
from taskct_core.errors import ConfigError


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


def never_prune(config: StudyConfig, directions: Mapping[str, str]) -> NeverPrune:
    """Of ``pruner: {name: none}``."""
    return NeverPrune()


def watched_metric(config: StudyConfig, directions: Mapping[str, str]) -> str:
    """The one column that a pruner of a single metric watches: ``pruner.metric``, or the first objective.

    Raises:
        ConfigError: if it is none of ``directions``.
    """
    metric = config.pruner.metric or config.objectives[0]
    if metric not in directions:
        valid = ", ".join(directions)
        raise ConfigError(f"pruner.metric must be a known column ({valid})", metric, "Correct its name.")
    return metric
