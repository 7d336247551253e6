"""Runs studies in this process: everything real but Ray, with one trial at a time."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from lookup_trainable import DIRECTIONS, SPACE, row_at

from study.config import StudyConfig
from study.run import Executor, StudyPlan, StudySummary, run_study
from study.search.conductor import Conductor
from study.search.events import OnEvent, ignore
from study.search.storage.records import TrialRecord
from study.search.trial_state import Proposal
from study.trials import epoch_log
from taskct_core.contracts.rows import EpochRow
from taskct_core.schema import EPOCH

EPOCHS = 4
FSYNC = os.fsync
RowOf = Callable[[dict[str, Any], int], dict[str, Any]]  # (values, epoch) -> what a trial reports


def study_config(**settings: Any) -> StudyConfig:
    """A small study over the lookup table's space."""
    return StudyConfig.parse({"trials": 6, "space": SPACE, "sampler": {"startup_trials": 3}} | settings)


@dataclass(frozen=True)
class InThisProcess:
    """An executor that runs trials one after another, from the lookup table.

    Attributes:
        runs_ahead: epochs that a trial logs beyond the one that is decided on, as Ray Train's workers do.
        row_of: what a trial reports.
    """

    runs_ahead: int = 0
    row_of: RowOf = row_at
    max_concurrent: int = 1

    @property
    def reports_wait(self) -> bool:
        return not self.runs_ahead

    def run(self, conductor: Conductor) -> None:
        while (proposal := conductor.suggest()) is not None:
            conductor.started(proposal.trial)
            for row in self.rows(proposal):
                if not conductor.report(proposal.trial, row):
                    break
            conductor.complete(proposal.trial)

    def rows(self, proposal: Proposal) -> Iterator[EpochRow]:
        """What a trial reports: logged rows again, then new ones."""
        rows = epoch_log.read(proposal.folder)
        for epoch in range(1, EPOCHS + 1):
            while len(rows) < min(EPOCHS, epoch + self.runs_ahead):
                rows.append(self.row_of(proposal.values, len(rows) + 1))
                assert rows[-1][EPOCH] == len(rows)
                epoch_log.append(proposal.folder, rows[-1])
            yield rows[epoch - 1]


def plan(config: StudyConfig, folder: Path, **settings: Any) -> StudyPlan:
    """A study of the lookup table."""
    defaults = {"fingerprint": {"data": "data-1"}, "epochs": EPOCHS, "directions": DIRECTIONS}
    return StudyPlan(config, folder, **{**defaults, **settings})


def run_here(
    config: StudyConfig,
    folder: Path,
    executor: Executor | None = None,
    on_event: OnEvent = ignore,
    **settings: Any,
) -> StudySummary:
    """:func:`run_study` without Ray; ``settings`` are those of its plan."""
    with mock.patch.object(os, "fsync", _no_fsync) if os.fsync is FSYNC else nullcontext():
        return run_study(plan(config, folder, **settings), executor or InThisProcess(), on_event)


def table(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions."""
    return [(r.trial, r.status, r.values, r.objectives, r.last_epoch, r.reason) for r in records]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@contextmanager
def killed_at_write(number: int) -> Iterator[None]:
    """Kill the process, so to speak, right after the n-th time that something was forced to disk."""
    writes = itertools.count(1)

    def die(descriptor: int) -> None:
        # Threads (heartbeat, TensorBoard) write when they like: it is the driver's own writes that are counted.
        if threading.current_thread() is threading.main_thread() and next(writes) == number:
            raise Killed

    with mock.patch.object(os, "fsync", die):
        yield


def _no_fsync(descriptor: int) -> None:
    """No machine fails here; waiting for its disk would take most of the time."""
