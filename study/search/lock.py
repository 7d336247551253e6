"""One driver a folder: ``<study>/driver.lock`` names who runs it, and shows by a heartbeat that it lives.

Datasets, task networks and single trials are locked in the same way while they are made.

Reads and writes ``driver.lock`` (host, process, heartbeat). The lock of a driver that died is taken over at
once if it ran on this host, and after :data:`STALE_SECONDS` without a heartbeat if it ran on another.

In a remote folder the lock is an object that is created only if it is absent. Two drivers that take over the same
stale lock at the same moment may both get it; the first sees at its next heartbeat that it lost, and stops.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from taskct_core.contracts.files import create_exclusively, is_remote, write_json
from taskct_core.contracts.folders import Folder
from taskct_core.errors import StudyError

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


@dataclass(frozen=True)
class Driver:
    """Who runs a study."""

    host: str
    pid: int
    process_started: float  # seconds since 1970; tells a process from a later one of the same pid
    token: str
    since: float  # seconds since 1970
    heartbeat: float  # seconds since 1970

    @property
    def is_alive(self) -> bool:
        """Whether the driver still runs, as far as can be told from here."""
        if self.host == socket.gethostname():
            return _process_start(self.pid) == self.process_started
        return time.time() - self.heartbeat < STALE_SECONDS


class StudyLock:
    """The lock that this driver holds."""

    def __init__(self, folder: Path, driver: Driver) -> None:
        self._folder = folder
        self._driver = driver
        self._lost_to: Driver | None = None

    def check(self) -> None:
        """Raises:
        StudyError: if another driver took the study over, because this one gave no sign of life for long.
        """
        if self._lost_to is not None:
            raise StudyError(
                "a study must have one driver",
                f"{_where(self._lost_to)} took it over while this one was suspended",
                "Let that one finish; `taskct study status` shows it.",
            )

    def beat(self) -> None:
        """Show that this driver lives; notice if another took the lock."""
        with _exclusive(self._folder):
            owner = read_driver(self._folder)
            if owner is not None and owner.token != self._driver.token:
                self._lost_to = owner
                return
            write_json(Folder(self._folder).lock, asdict(replace(self._driver, heartbeat=time.time())))

    def release(self) -> None:
        with _exclusive(self._folder):
            owner = read_driver(self._folder)
            if owner is not None and owner.token == self._driver.token:
                Folder(self._folder).lock.unlink()


@contextmanager
def study_lock(folder: Path, what: str = "study") -> Iterator[StudyLock]:
    """Hold the lock of the study, or of ``what`` else is in ``folder``, while the block runs.

    Raises:
        StudyError: if a living driver holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _acquire(folder, what)
    stop = threading.Event()
    heartbeat = threading.Thread(target=_beat_until, args=(stop, lock), daemon=True, name="study-heartbeat")
    heartbeat.start()
    try:
        yield lock
    finally:
        stop.set()
        heartbeat.join()
        lock.release()


def read_driver(folder: Path) -> Driver | None:
    """Who holds the lock of the study in ``folder``, alive or not; ``None`` if nobody does."""
    try:
        return Driver(**json.loads(Folder(folder).lock.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _acquire(folder: Path, what: str) -> StudyLock:
    with _exclusive(folder):
        owner = read_driver(folder)
        if owner is not None and owner.is_alive:
            raise _refusal(folder, owner, what)
        driver = _this_driver()
        if is_remote(folder):
            _create(folder, driver, owner, what)
        else:
            write_json(Folder(folder).lock, asdict(driver))
        return StudyLock(folder, driver)


def _this_driver() -> Driver:
    now, pid = time.time(), os.getpid()
    return Driver(socket.gethostname(), pid, _process_start(pid) or now, uuid.uuid4().hex, now, now)


def _create(folder: Path, driver: Driver, stale: Driver | None, what: str) -> None:
    """Create the lock in a remote folder, in the place of a stale one."""
    if stale is not None:
        Folder(folder).lock.unlink(missing_ok=True)
    try:
        create_exclusively(Folder(folder).lock, json.dumps(asdict(driver)).encode())
    except FileExistsError:
        raise _refusal(folder, read_driver(folder) or driver, what) from None


def _refusal(folder: Path, owner: Driver, what: str) -> StudyError:
    shown = "; `taskct study status` shows how far it is" if what == "study" else ""
    return StudyError(
        f"a {what} must have one driver at a time",
        f"{folder} is run by {_where(owner)}",
        f"Wait for it or stop it{shown}.",
    )


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from reading and writing a local lock file at the same time."""
    if is_remote(folder):
        yield
        return
    with (folder / f".{Folder.lock}.mutex").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees it when a process dies
        yield


def _beat_until(stop: threading.Event, lock: StudyLock) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):  # a full disk ends the run where results are stored; it may have room again
            lock.beat()


def _process_start(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def _where(driver: Driver) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(driver.since))
    return f"process {driver.pid} on {driver.host} since {since}"
