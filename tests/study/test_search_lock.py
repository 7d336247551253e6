"""One driver a study: refusal, takeover of the dead, and a race of real processes."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study import stages
from study.config import ExperimentConfig
from study.search import lock as lock_module
from study.search.lock import STALE_SECONDS, read_driver, study_lock
from study.workspace import Workspace
from taskct_core.contracts.folders import Folder
from taskct_core.errors import StudyError

HOLD = """
import sys, time
from pathlib import Path
from study.search.lock import study_lock
from taskct_core.errors import StudyError
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
try:
    with study_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(3)
except StudyError:
    print("refused", flush=True)
"""


def change(folder: Path, **fields: object) -> None:
    path = folder / Folder.lock
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_second_driver_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with study_lock(tmp_path), pytest.raises(StudyError, match=socket.gethostname()), study_lock(tmp_path):
        pass
    with study_lock(tmp_path):  # the first has left
        pass
    assert read_driver(tmp_path) is None


def test_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    with study_lock(tmp_path):
        content = (tmp_path / Folder.lock).read_text()
    (tmp_path / Folder.lock).write_text(content)
    change(tmp_path, pid=int(child.stdout), heartbeat=time.time())
    with study_lock(tmp_path):
        pass


def test_a_reused_pid_is_not_mistaken_for_the_driver(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        driver = read_driver(tmp_path)
        assert driver is not None and driver.is_alive
        assert not dataclasses.replace(driver, process_started=driver.process_started - 100).is_alive


def test_a_driver_on_another_host_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        content = (tmp_path / Folder.lock).read_text()
    (tmp_path / Folder.lock).write_text(content)
    change(tmp_path, host="elsewhere", heartbeat=time.time())
    with pytest.raises(StudyError, match="elsewhere"), study_lock(tmp_path):
        pass
    change(tmp_path, heartbeat=time.time() - STALE_SECONDS - 1)
    with study_lock(tmp_path):
        pass


def test_a_driver_that_lost_its_lock_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 3600)
    with study_lock(tmp_path) as lock:
        lock.check()
        change(tmp_path, token="another", pid=1)
        lock.beat()
        with pytest.raises(StudyError, match="took it over"):
            lock.check()
    assert (tmp_path / Folder.lock).exists()  # the other's lock stays


def test_the_heartbeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.01)
    with study_lock(tmp_path):
        first = read_driver(tmp_path)
        deadline = time.monotonic() + 10
        while read_driver(tmp_path) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert read_driver(tmp_path) != first


def test_of_drivers_that_race_for_a_stale_lock_one_wins(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        content = (tmp_path / Folder.lock).read_text()
    (tmp_path / Folder.lock).write_text(content)
    change(tmp_path, host="elsewhere", heartbeat=0.0)
    go = tmp_path / "go"
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(go)]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    time.sleep(1.5)
    go.touch()
    said = sorted(driver.communicate()[0].strip() for driver in drivers)
    assert said == ["held", "refused", "refused"]


def test_a_dataset_and_a_task_network_are_made_by_one_process_at_a_time(small, tmp_path: Path) -> None:
    values = small.experiment.model_dump() | {"output": str(tmp_path)}
    experiment = ExperimentConfig.parse(values)
    given = ExperimentConfig.parse(values | {"dataset": str(small.workspace.dataset)})
    workspace = Workspace.of(experiment)
    with (
        study_lock(workspace.dataset, "dataset"),
        pytest.raises(StudyError, match="a dataset must have one driver"),
    ):
        stages.simulate_dataset(experiment)
    with (
        study_lock(workspace.task_network, "task network"),
        pytest.raises(StudyError, match="a task network must have one driver"),
    ):
        stages.pretrain_task_network(given)
