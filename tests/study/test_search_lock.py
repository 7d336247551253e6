"""One driver a study: refusal, takeover of the dead, and a race of real processes."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from studies import run_here, study_config

from study.cli import stages
from study.config import ExperimentConfig
from study.experiment.workspace import Workspace
from study.run import load_study
from study.search import lock as lock_module
from study.search.events import EpochReported, Event
from study.search.lock import STALE_SECONDS, read_driver, study_lock
from study.search.storage.records import read_records
from taskct_core.contracts.folders import Folder
from taskct_core.errors import StudyError
from taskct_core.schema import COMPLETE, RUNNING

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


def leave_lock(folder: Path, **fields: object) -> None:
    """The lock file as a driver leaves it that was killed: its kernel's lock is gone, driver.lock is not."""
    with study_lock(folder):
        content = (folder / Folder.lock).read_text()
    (folder / Folder.lock).write_text(content)
    change(folder, **fields)


def dead_process() -> int:
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(params=["kernel", "no kernel"])
def kernel_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with locks, and one whose kernel says that it has none."""
    monkeypatch.setattr(lock_module, "WATCH_SECONDS", 0.1)
    if request.param == "no kernel":

        def refuse(file: int, operation: int) -> None:
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return str(request.param)


@pytest.mark.usefixtures("kernel_locks")
def test_a_dead_process_is_taken_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "WATCH_SECONDS", 3600.0)
    leave_lock(tmp_path, pid=dead_process(), heartbeat=time.time())
    with study_lock(tmp_path), pytest.raises(StudyError, match="one driver"), study_lock(tmp_path):
        pass


@pytest.mark.usefixtures("kernel_locks")
def test_a_reused_pid_is_not_mistaken_for_the_driver(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        driver = read_driver(tmp_path)
        assert driver is not None and driver.is_alive
        assert not dataclasses.replace(driver, started=driver.started - 100).is_alive
    leave_lock(tmp_path, started=1.0)
    with study_lock(tmp_path):
        pass


def test_a_driver_is_known_by_what_no_clock_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with study_lock(tmp_path):
        driver = read_driver(tmp_path)
        assert driver is not None
        for jump in (1.0, -1e6, 1e6):  # a second is enough to shift what psutil calls a process's start
            monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
            assert driver.is_alive


@pytest.mark.usefixtures("kernel_locks")
@pytest.mark.parametrize("fields", [{"host": "elsewhere", "boot": "another"}, {"boot": "", "started": 0.0}])
def test_a_driver_that_cannot_be_looked_for_is_judged_by_its_heartbeat(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    leave_lock(tmp_path, **fields, heartbeat=time.time())
    with pytest.raises(StudyError, match=str(fields.get("host", socket.gethostname()))), study_lock(tmp_path):
        pass
    change(tmp_path, heartbeat=time.time() - STALE_SECONDS - 1)
    with study_lock(tmp_path):
        pass


@pytest.mark.usefixtures("kernel_locks")
def test_a_clock_that_is_ahead_neither_kills_nor_saves_a_driver_elsewhere(tmp_path: Path) -> None:
    ahead = time.time() + 1e6
    leave_lock(tmp_path, host="elsewhere", boot="another", heartbeat=ahead)
    with study_lock(tmp_path):  # it does not beat
        pass
    leave_lock(tmp_path, host="elsewhere", boot="another", heartbeat=ahead)
    beating = threading.Timer(0.05, change, [tmp_path], {"heartbeat": ahead + 5})
    beating.start()
    with pytest.raises(StudyError, match="elsewhere"), study_lock(tmp_path):
        pass
    beating.join()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux")
def test_another_process_namespace_of_this_kernel_does_not_take_over(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from study.search import lock; lock.WATCH_SECONDS = 0.1\n"
        "from taskct_core.errors import StudyError\n"
        "try:\n    lock.study_lock(Path(sys.argv[1])).__enter__(); print('held')\n"
        "except StudyError: print('refused')"
    )
    command = ["unshare", "--fork", "--pid", sys.executable, "-c", program, str(tmp_path)]
    with study_lock(tmp_path):
        change(tmp_path, heartbeat=0.0)  # as if it had been suspended
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in result.stderr:
        pytest.skip("no namespaces may be made here")
    assert result.stdout.strip() == "refused", result.stderr


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", '{"host": "x"}', "\0" * 200])
def test_a_damaged_lock_file_of_nobody_stops_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / Folder.lock).write_text(content)
    assert read_driver(tmp_path) is None
    with study_lock(tmp_path):
        pass


def replace_mutex(folder: Path) -> None:
    (folder / f".{Folder.lock}.mutex").unlink()
    (folder / f".{Folder.lock}.mutex").touch()


LOSSES = {
    "taken over": (lambda folder: change(folder, token="another", pid=1), "taken over by process 1"),
    "deleted": (lambda folder: (folder / Folder.lock).unlink(), "vanished"),
    "damaged": (lambda folder: (folder / Folder.lock).write_text("{"), "vanished"),
    "the kernel's file replaced": (replace_mutex, "vanished"),
    "the folder moved": (lambda folder: folder.rename(folder.with_name("moved")), "vanished"),
}


@pytest.mark.parametrize(("lose", "said"), LOSSES.values(), ids=LOSSES)
def test_a_driver_that_lost_its_lock_may_not_write(tmp_path: Path, lose: Any, said: str) -> None:
    folder = tmp_path / "study"
    with study_lock(folder) as lock:
        lock.check()
        lose(folder)
        with pytest.raises(StudyError, match=said):
            lock.check()
        left = read_driver(folder)
        lock.beat()
        assert read_driver(folder) == left  # what another wrote, or nothing
        with pytest.raises(StudyError, match="one driver"):
            lock.check()
    if said.startswith("taken over"):
        assert read_driver(folder) == left  # the other's lock stays


def test_a_study_whose_lock_is_deleted_stops_before_it_writes(tmp_path: Path) -> None:
    def delete(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1 and event.row["epoch"] == 2:
            (tmp_path / Folder.lock).unlink()

    with pytest.raises(StudyError, match="vanished"):
        run_here(study_config(trials=3), tmp_path, on_event=delete)
    assert [record.status for record in read_records(load_study(tmp_path))] == [COMPLETE, RUNNING]
    assert [record.status for record in run_here(study_config(trials=3), tmp_path).trials] == [COMPLETE] * 3


def test_the_heartbeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_SECONDS", 0.01)
    with study_lock(tmp_path):
        first = read_driver(tmp_path)
        deadline = time.monotonic() + 10
        while read_driver(tmp_path) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert read_driver(tmp_path) != first


@pytest.mark.slow
def test_of_drivers_that_race_for_a_stale_lock_one_wins(tmp_path: Path) -> None:
    with study_lock(tmp_path):
        content = (tmp_path / Folder.lock).read_text()
    (tmp_path / Folder.lock).write_text(content)
    change(tmp_path, host="elsewhere", boot="another", heartbeat=0.0)
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
