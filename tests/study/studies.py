"""Runs studies in this process: everything real but Ray Tune's event loop, with one trial at a time."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from lookup_trainable import DIRECTIONS, SPACE, row_at
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

import study.run
from study.config import StudyConfig
from study.run import StudySummary, run_study
from study.search.records import TrialRecord
from study.trials import epoch_log
from taskct_core.contracts.files import open_folder
from taskct_core.schema import EPOCH

EPOCHS = 4
FSYNC = os.fsync
RowOf = Callable[[dict[str, Any], int], dict[str, Any]]  # (values, epoch) -> what a trial reports


def study_config(**settings: Any) -> StudyConfig:
    """A small study over the lookup table's space."""
    return StudyConfig.parse({"trials": 6, "space": SPACE, "sampler": {"startup_trials": 3}} | settings)


def run_here(
    config: StudyConfig, folder: Path, runs_ahead: int = 0, row_of: RowOf = row_at, **arguments: Any
) -> StudySummary:
    """:func:`run_study` without Ray: trials run one after another in this process.

    ``runs_ahead``: epochs that a trial logs beyond the one that is decided on, as Ray Train's workers do. ``row_of``: what a trial reports.
    """
    if os.fsync is FSYNC:  # no machine fails here; waiting for its disk would take most of the time
        with mock.patch.object(os, "fsync", lambda descriptor: None):
            return run_here(config, folder, runs_ahead, row_of, **arguments)
    with mock.patch.object(study.run, "_execute", functools.partial(_execute_here, runs_ahead, row_of)):
        return run_study(
            config,
            folder,
            **{
                "trainable": lambda proposal: None,
                "fingerprint": {"data": "data-1"},
                "max_concurrent": 1,
                "resources": {"cpu": 1},
                "metric_directions": DIRECTIONS,
                "epochs": EPOCHS,
                "reports_wait": not runs_ahead,
                **arguments,
            },
        )


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
        if next(writes) == number:
            raise Killed

    with mock.patch.object(os, "fsync", die):
        yield


def _execute_here(
    runs_ahead: int,
    row_of: RowOf,
    trainable: Any,
    tune_config: tune.TuneConfig,
    folder: Path,
    max_retries: int,
) -> None:
    searcher, scheduler = tune_config.search_alg, tune_config.scheduler
    for trial_id in map(str, itertools.count()):
        proposal = searcher.suggest(trial_id)
        if proposal == Searcher.FINISHED:
            return
        trial = SimpleNamespace(trial_id=trial_id, config=proposal)
        for row in _rows(proposal, runs_ahead, row_of):
            if scheduler.on_trial_result(None, trial, row) == TrialScheduler.STOP:
                break
        searcher.on_trial_complete(trial_id, row)


def _rows(proposal: dict[str, Any], runs_ahead: int, row_of: RowOf) -> Iterator[dict[str, Any]]:
    """The rows that the lookup trainable reports: logged ones again, then new ones."""
    folder = open_folder(proposal["folder"])
    rows = epoch_log.read(folder)
    for epoch in range(1, EPOCHS + 1):
        while len(rows) < min(EPOCHS, epoch + runs_ahead):
            rows.append(row_of(proposal["values"], len(rows) + 1))
            assert rows[-1][EPOCH] == len(rows)
            epoch_log.append(folder, rows[-1])
        yield rows[epoch - 1]
