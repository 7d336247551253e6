"""Every study's curves for TensorBoard: ``tensorboard --logdir <study>/trials``.

Writes ``trials/0003/events.out.tfevents.*``, one scalar a numeric column of the epoch log. For a remote study they
are written on this machine and uploaded after every epoch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from study.search.events import EpochReported, Event, TrialFinished, TrialStarted
from taskct_core.contracts.files import is_remote, upload
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.schema import EPOCH, SEED, TRIAL

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_FILES = "events.out.tfevents.*"
_NO_CURVES = (EPOCH, TRIAL, SEED)


class TensorBoardLog:
    """Follows a study's events; epochs that a restarted trial reports again are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, SummaryWriter] = {}
        self._last_epoch: dict[int, int] = {}
        self._local = tempfile.TemporaryDirectory(prefix="taskct-") if is_remote(folder) else None

    def __call__(self, event: Event) -> None:
        match event:
            case TrialStarted(trial=trial):
                self._open(trial)
            case EpochReported(trial=trial, row=row) if row[EPOCH] > self._last_epoch[trial]:
                self._write(trial, row)
            case TrialFinished(trial=trial):
                self._writers.pop(trial).close()
                self._publish(trial)
                del self._last_epoch[trial]

    def _open(self, trial: int) -> None:
        from tensorboardX import SummaryWriter  # imports torch, which takes seconds

        folder = StudyFolder(self._folder).trial(trial).path
        for left in folder.glob(_FILES):
            left.unlink()  # of a driver that died; the trial reports its epochs again
        self._writers[trial] = SummaryWriter(logdir=str(self._written_in(trial)))
        self._last_epoch[trial] = 0

    def _write(self, trial: int, row: EpochRow) -> None:
        self._last_epoch[trial] = row[EPOCH]
        for name, value in finite_numbers(row).items():
            if name not in _NO_CURVES:
                self._writers[trial].add_scalar(name, value, row[EPOCH])
        self._publish(trial)

    def _written_in(self, trial: int) -> Path:
        return StudyFolder(Path(self._local.name) if self._local else self._folder).trial(trial).path

    def _publish(self, trial: int) -> None:
        if self._local is None:
            return
        if trial in self._writers:
            self._writers[trial].flush()
        for path in self._written_in(trial).glob(_FILES):
            upload(path, StudyFolder(self._folder).trial(trial).path / path.name)
