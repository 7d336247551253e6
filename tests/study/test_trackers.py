"""Every tracker passes this suite by being in ``TRACKERS``: a run a trial, each epoch once, whatever died between."""

from __future__ import annotations

import atexit
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from studies import EPOCHS, Killed, run_here, study_config
from tensorboardX.proto.event_pb2 import Event as TensorBoardEvent
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from study.monitor.trackers import pictures
from study.monitor.trackers.tensorboard import TensorBoardLog
from study.monitor.trackers.tracking import TRACKERS
from study.search.events import EpochReported, Event
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import epoch_row
from taskct_core.contracts.tables import write_arrays
from taskct_core.errors import ConfigError
from taskct_core.schema import COMPLETE, EPOCH, PRIMARY_DICE, PRUNED


class Run(NamedTuple):
    """What a tool holds of a trial."""

    alpha: float
    curve: list[tuple[int, float]]  # (epoch, primary Dice)
    status: str | None  # where the tool has a place for it


def tensorboard_events(folder: Path) -> Iterator[Any]:
    """Those in a folder's event files, which are TFRecords: length, checksum, data, checksum."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield TensorBoardEvent.FromString(content[12 : 12 + length])
            content = content[12 + length + 4 :]


def hparams(folder: Path) -> dict[str, Any]:
    for event in tensorboard_events(folder):
        for value in event.summary.value:
            if value.tag == "_hparams_/session_start_info":
                data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                return {
                    name: getattr(found, found.WhichOneof("kind"))
                    for name, found in data.session_start_info.hparams.items()
                }
    return {}


def tensorboard_runs(folder: Path) -> dict[int, Run]:
    runs = {}
    for trial in sorted((folder / "trials").iterdir()):
        values = [
            (event.step, value.simple_value)
            for event in tensorboard_events(trial)
            for value in event.summary.value
            if value.tag == PRIMARY_DICE
        ]
        runs[int(trial.name)] = Run(hparams(trial)["alpha"], values, None)
    return runs


def mlflow_runs(folder: Path) -> dict[int, Run]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(folder.parent.name)
    runs = {}
    for run in client.search_runs([experiment.experiment_id]):
        points = client.get_metric_history(run.info.run_id, PRIMARY_DICE)
        curve = [(point.step, point.value) for point in points]
        number, status = int(run.data.tags["taskct.trial"]), run.data.tags["taskct.status"]
        assert number not in runs
        assert run.info.status == {COMPLETE: "FINISHED", PRUNED: "KILLED"}[status]
        assert any(name.startswith("architecture_parameters.") for name in run.data.params)
        runs[number] = Run(float(run.data.params["alpha"]), curve, status)
    return runs


def wandb_runs(folder: Path) -> dict[int, Run]:
    """From the offline files; those of one id are one run once they are synchronised, of equal steps the last counts."""
    runs: dict[int, Run] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_ctime_ns):
        alpha, trial, curve, status = 0.0, -1, {}, None
        for record in wandb_records(path):
            if record.HasField("run"):
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                alpha, trial = config["alpha"], config["trial"]
            for item in (named(record.history.item),) if record.HasField("history") else ():
                if PRIMARY_DICE in item:
                    curve[item[EPOCH]] = item[PRIMARY_DICE]
            if record.HasField("summary"):
                status = named(record.summary.update).get("status", status)
        earlier = dict(runs[trial].curve) if trial in runs else {}
        runs[trial] = Run(alpha, sorted((earlier | curve).items()), status)
    return runs


def wandb_records(path: Path) -> list[Any]:
    """All records of a run, once the last is there: W&B's own process writes them, and may be behind."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at run time
    from wandb.sdk.internal.datastore import DataStore

    end = time.monotonic() + 30
    while True:
        store = DataStore()
        store.open_for_scan(str(path))
        records = []
        while (data := store.scan_data()) is not None:
            records.append(Record.FromString(data))
        if (records and records[-1].HasField("exit")) or time.monotonic() > end:
            return records
        time.sleep(0.2)


def named(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


# Key of `study` -> its value in a study's folder, and a reader of what the tool then holds.
SUITE: dict[str, tuple[Callable[[Path], Any], Callable[[Path], dict[int, Run]]]] = {
    "tensorboard": (lambda _folder: True, tensorboard_runs),
    "mlflow": (lambda folder: f"sqlite:///{folder}/mlflow.db", mlflow_runs),
    "wandb": (lambda _folder: "lab/low-dose", wandb_runs),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_weights_and_biases_is_told_no_whereabouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would send the host, the folders, the command line with a password in it, and the commit of this repository."""
    monkeypatch.setattr(sys, "argv", ["taskct", "--set", "study.storage=postgresql://me:secret-word@db/x"])
    folder = tmp_path / "mine" / "study"
    folder.mkdir(parents=True)
    run_here(study_config(trials=1, tensorboard=False, wandb="lab/low-dose"), folder)
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    sent = "".join(str(record) for record in wandb_records(path))
    assert "lab" in sent and "alpha" in sent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    for whereabouts in (
        "secret-word",
        str(tmp_path),
        socket.gethostname(),
        sys.executable,
        commit or "no commit",
    ):
        # as a word: a short host name may stand in an identifier that was drawn at random
        assert not re.search(rf"(?<!\w){re.escape(whereabouts)}(?!\w)", sent), whereabouts


@pytest.mark.parametrize("key", TRACKERS)
def test_each_trial_is_one_run_however_often_the_driver_died(key: str, tmp_path: Path) -> None:
    setting, read = SUITE[key]
    folder = tmp_path / "mine" / "study"
    folder.mkdir(parents=True)
    pruner = {"name": "pareto_asha", "reduction_factor": 2}
    config = study_config(trials=4, pruner=pruner, **{"tensorboard": False, key: setting(folder)})

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1 and event.row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        run_here(config, folder, on_event=kill)
    summary = run_here(config, folder)
    runs = read(folder)
    assert set(runs) == {record.trial for record in summary.trials} == {0, 1, 2, 3}
    for record in summary.trials:
        run = runs[record.trial]
        assert run.alpha == pytest.approx(record.values["alpha"])
        assert [epoch for epoch, _ in run.curve] == list(range(1, record.last_epoch + 1))
        assert run.curve[-1][1] == pytest.approx(record.objectives[PRIMARY_DICE])
        assert run.status in (None, record.status)
    assert {record.status for record in summary.trials} == {COMPLETE, PRUNED}


def test_a_study_without_trackers_leaves_nothing_of_them(tmp_path: Path) -> None:
    run_here(study_config(trials=1, tensorboard=False), tmp_path)
    assert not list(tmp_path.rglob("events.out.tfevents.*"))


def test_a_tool_that_is_not_there_is_refused_before_any_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"Install taskct\[wandb\]"):
        run_here(study_config(wandb="low-dose"), tmp_path)
    assert not (tmp_path / "trials").exists()


def test_a_tracker_that_fails_is_told_no_more_and_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(TensorBoardLog, "log", full)
    summary = run_here(study_config(trials=2), tmp_path)
    assert [record.status for record in summary.trials] == [COMPLETE] * 2
    assert summary.trials[0].last_epoch == EPOCHS
    assert capsys.readouterr().out.count("TensorBoard is logged to no more (no space left") == 1


def test_tensorboards_files_leave_neither_threads_nor_anything_for_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    log = TensorBoardLog(True, tmp_path)
    before = (threading.active_count(), atexit._ncallbacks())
    for trial in range(3):
        log.begin(trial, {"alpha": 0.5})
        log.log(trial, epoch_row({"epoch": 1, PRIMARY_DICE: 0.5}))
        assert (threading.active_count(), atexit._ncallbacks()) == before
        events = tensorboard_events(
            StudyFolder(tmp_path).trial(trial).path
        )  # there at once, for whoever looks on
        assert PRIMARY_DICE in {value.tag for event in events for value in event.summary.value}
        log.end(trial, COMPLETE, None)


def test_a_complete_trial_shows_its_values_and_its_slices(tmp_path: Path) -> None:
    """The liver window is 450 HU wide: air is black, bone white; liver is tinted green, tumour red."""
    folder = StudyFolder(tmp_path)
    trial = folder.trial(7)
    trial.path.mkdir(parents=True)
    image = np.zeros((2, 4, 5), np.float16)
    image[0, 1, 1] = 1.0
    prediction = np.zeros((2, 4, 5), np.uint8)
    prediction[0, 2, 2], prediction[0, 3, 3] = 1, 2
    write_arrays(trial.panel, image=image, prediction=prediction)

    shown = pictures.pictures_of(trial)
    assert set(shown) == {"slice-0", "slice-1"}
    first = shown["slice-0"]
    assert first.shape == (4, 10, 3) and first.dtype == np.uint8
    assert first[1, 1].tolist() == first[1, 6].tolist() == [255, 255, 255] and first[0, 0].tolist() == [
        0,
        0,
        0,
    ]
    assert first[2, 2].tolist() == [0, 0, 0] and first[2, 7].argmax() == 1 and first[3, 8].argmax() == 0

    log = TensorBoardLog(True, tmp_path)
    log.begin(7, {"alpha": 0.25, "architecture_parameters": {"width": 8}, "front_alphas": [0.0, 1.0]})
    log.log(7, epoch_row({"epoch": 1, PRIMARY_DICE: 0.5}))
    log.end(7, COMPLETE, None)
    tags = {value.tag: value for event in tensorboard_events(trial.path) for value in event.summary.value}
    assert {"slice-0", "slice-1", PRIMARY_DICE} <= set(tags)
    assert (tags["slice-0"].image.height, tags["slice-0"].image.width) == (4, 10)
    assert hparams(trial.path) == {
        "alpha": 0.25,
        "architecture_parameters.width": 8.0,
        "front_alphas": "[0.0, 1.0]",
    }
