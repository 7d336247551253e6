"""Every study's curves for TensorBoard: ``tensorboard --logdir <study>/trials``.

Writes ``trials/0003/events.out.tfevents.*``: one scalar a numeric column of the epoch log; at a trial's end its values
for the HParams tab, and the slices that it shows. For a remote study they are written on this machine and uploaded
after every epoch.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.monitor.trackers.pictures import pictures_of
from study.monitor.trackers.tracking import flat
from taskct_core.contracts.files import is_remote, upload
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.schema import COMPLETE, EPOCH, SEED, TRIAL

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.summary_pb2 import Summary

_FILES = "events.out.tfevents.*"
_NO_CURVES = (EPOCH, TRIAL, SEED)


class TensorBoardLog:
    """A tracker; see :mod:`study.monitor.trackers.tracking`.

    It writes the files of events itself: a ``SummaryWriter`` starts a thread, and the process keeps each until its end.
    """

    name = "TensorBoard"

    def __init__(self, setting: bool, folder: Path) -> None:  # noqa: ARG002  it has nothing to set
        self._folder = folder
        self._writers: dict[int, EventsWriter] = {}
        self._values: dict[int, dict[str, Any]] = {}
        self._last_row: dict[int, dict[str, float]] = {}
        self._local = tempfile.TemporaryDirectory(prefix="taskct-") if is_remote(folder) else None

    def begin(self, trial: int, values: dict[str, Any]) -> int:
        from tensorboardX.event_file_writer import EventsWriter  # imports torch, which takes seconds

        folder = StudyFolder(self._folder).trial(trial).path
        for left in folder.glob(_FILES):
            left.unlink()  # of a driver that died; the trial reports its epochs again
        written_in = self._written_in(trial)
        written_in.mkdir(parents=True, exist_ok=True)
        self._writers[trial] = EventsWriter(str(written_in / "events"))
        self._values[trial] = values
        return 0

    def log(self, trial: int, row: EpochRow) -> None:
        from tensorboardX.summary import scalar

        numbers = finite_numbers(row)
        for name, value in numbers.items():
            if name not in _NO_CURVES:
                _write(self._writers[trial], scalar(name, value), row[EPOCH])
        self._writers[trial].flush()
        self._last_row[trial] = numbers
        self._publish(trial)

    def end(self, trial: int, status: str, reason: str | None) -> None:  # noqa: ARG002  it has no place for why
        from tensorboardX.summary import image

        row = self._last_row.pop(trial, {})
        with closing(self._writers.pop(trial)) as writer:
            self._write_values(writer, self._values.pop(trial), row)
            if status == COMPLETE:
                for name, picture in pictures_of(StudyFolder(self._folder).trial(trial)).items():
                    _write(writer, image(name, picture, dataformats="HWC"), row.get(EPOCH))
        self._publish(trial)

    def leave(self, trial: int) -> None:
        self._writers.pop(trial).close()
        self._publish(trial)

    def _write_values(self, writer: EventsWriter, values: dict[str, Any], row: dict[str, float]) -> None:
        """The values for the HParams tab, beside the trial's own curves; ``add_hparams`` would make a run of its own."""
        from tensorboardX.summary import hparams

        known = {name: _plain(value) for name, value in flat(values).items()}
        curves = {name: value for name, value in row.items() if name not in _NO_CURVES}
        for summary in hparams(known, curves):
            _write(writer, summary)

    def _written_in(self, trial: int) -> Path:
        return StudyFolder(Path(self._local.name) if self._local else self._folder).trial(trial).path

    def _publish(self, trial: int) -> None:
        if self._local is None:
            return
        for path in self._written_in(trial).glob(_FILES):
            upload(path, StudyFolder(self._folder).trial(trial).path / path.name)


def _write(writer: EventsWriter, summary: Summary, epoch: float | None = None) -> None:
    from tensorboardX.proto.event_pb2 import Event

    writer.write_event(Event(summary=summary, wall_time=time.time(), step=int(epoch or 0)))


def _plain(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
