"""The package as a library: names without Ray's import, and a study's curves for TensorBoard."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from studies import EPOCHS, Killed, run_here, study_config
from tensorboardX.proto.event_pb2 import Event as TensorBoardEvent

import study
from study.search.events import EpochReported, Event
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import PRIMARY_DICE


def test_every_public_name_is_there() -> None:
    for name in study.__all__:
        assert getattr(study, name).__name__ == name
    with pytest.raises(AttributeError, match="run_studies"):
        study.run_studies  # noqa: B018


def test_importing_the_package_does_not_import_ray() -> None:
    code = "import sys, study; sys.exit('ray' in sys.modules or 'optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensorboard_has_each_epoch_once(tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1 and event.row["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run_here(study_config(trials=2), tmp_path, on_event=kill)
    summary = run_here(study_config(trials=2), tmp_path)
    for record in summary.trials:
        points = read_scalars(StudyFolder(tmp_path).trial(record.trial).path, PRIMARY_DICE)
        assert [step for step, _ in points] == list(range(1, EPOCHS + 1))
        assert points[-1][1] == pytest.approx(record.objectives[PRIMARY_DICE])


def read_scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) in a folder's event files, which are TFRecords: length, checksum, data, checksum."""
    points = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = TensorBoardEvent.FromString(content[12 : 12 + length])
            points += [(event.step, v.simple_value) for v in event.summary.value if v.tag == name]
            content = content[12 + length + 4 :]
    return points
