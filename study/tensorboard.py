"""Every study's curves for TensorBoard: ``tensorboard --logdir <study>/trials``.

Writes ``trials/0003/events.out.tfevents.*``, one scalar a numeric column of the epoch log.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.events import EpochReported, Event, TrialFinished, TrialStarted
from study.search.records import trial_folder
from taskct_core.schema import EPOCH, SEED, TRIAL

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_NO_CURVES = (EPOCH, TRIAL, SEED)


class TensorBoardLog:
    """Follows a study's events; epochs that a restarted trial reports again are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, SummaryWriter] = {}
        self._last_epoch: dict[int, int] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case TrialStarted(trial=trial):
                self._open(trial)
            case EpochReported(trial=trial, row=row) if row[EPOCH] > self._last_epoch[trial]:
                self._write(trial, row)
            case TrialFinished(trial=trial):
                self._writers.pop(trial).close()
                del self._last_epoch[trial]

    def _open(self, trial: int) -> None:
        from tensorboardX import SummaryWriter  # imports torch, which takes seconds

        folder = trial_folder(self._folder, trial)
        for left in folder.glob("events.out.tfevents.*"):
            left.unlink()  # of a driver that died; the trial reports its epochs again
        self._writers[trial] = SummaryWriter(logdir=str(folder))
        self._last_epoch[trial] = 0

    def _write(self, trial: int, row: dict[str, Any]) -> None:
        self._last_epoch[trial] = row[EPOCH]
        for name, value in row.items():
            if isinstance(value, int | float) and math.isfinite(value) and name not in _NO_CURVES:
                self._writers[trial].add_scalar(name, value, row[EPOCH])
