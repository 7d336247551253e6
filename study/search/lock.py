"""One driver a folder: ``<study>/driver.lock`` names who runs it, and shows by a heartbeat that it lives.

Datasets, task networks and single trials are locked in the same way while they are made.

The kernel holds the lock itself, on ``.driver.lock.mutex``, for as long as the driver lives: whoever gets it knows that
no process under this kernel is the driver, whatever namespace or clock it sees. Some file systems have no such locks,
or none that other machines see. There a driver is judged by ``driver.lock``: by its process if it runs beside us (same
boot, same process namespace, same start in ticks since boot), else by its heartbeat, which must be
:data:`STALE_SECONDS` old and must not go on while it is watched; clocks of two machines may differ.

In a remote folder the lock is an object that is created only if it is absent. Two drivers that take over the same
stale lock at the same moment may both get it; the first sees that it lost before it writes, and stops.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import psutil

from taskct_core.contracts.files import (
    create_exclusively,
    is_remote,
    parse_json,
    read_whole,
    remove_partials,
    write_json,
)
from taskct_core.contracts.folders import Folder
from taskct_core.errors import StudyError

try:
    import fcntl
except ImportError:  # Windows: a driver is judged by its heartbeat
    fcntl = None  # type: ignore[assignment]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
WATCH_SECONDS = 1.5 * HEARTBEAT_SECONDS
_NO_KERNEL_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)


@dataclass(frozen=True)
class Driver:
    """Who runs a study."""

    host: str
    pid: int
    token: str
    since: float  # seconds since 1970
    heartbeat: float  # seconds since 1970
    boot: str = ""  # of its kernel; empty where the kernel does not tell
    namespace: str = ""  # in which pid counts
    started: float = (
        0.0  # clock ticks since boot, or seconds since 1970; tells a process from a later one of its pid
    )

    @property
    def is_alive(self) -> bool:
        """Whether the driver still runs, as far as can be told from here."""
        if self.is_beside_us:
            return _start_of(self.pid) == self.started
        return -STALE_SECONDS < time.time() - self.heartbeat < STALE_SECONDS

    @property
    def is_beside_us(self) -> bool:
        """Whether its process can be looked for here."""
        here = _this_machine()
        return (self.host, self.boot, self.namespace) == here and bool(self.started)


_KINDS = {
    field.name: {"str": str, "int": int, "float": int | float}[str(field.type)] for field in fields(Driver)
}


class StudyLock:
    """The lock that this driver holds."""

    def __init__(self, folder: Path, driver: Driver, kernel_lock: int | None, what: str) -> None:
        self._folder = folder
        self._driver = driver
        self._kernel_lock = kernel_lock  # an open file
        self._what = what
        self._is_lost = False

    def check(self) -> None:
        """Look at the lock, before something is written that only its holder may write.

        Raises:
            StudyError: if it is gone, or another's.
        """
        owner = read_driver(self._folder)
        is_ours = owner is not None and owner.token == self._driver.token
        if self._is_lost or not is_ours or not self._kernel_lock_is_in_place():
            self._is_lost = True
            raise StudyError(
                f"a {self._what} must have one driver",
                f"the lock of this one in {self._folder} "
                + ("has vanished" if owner is None or is_ours else f"was taken over by {_where(owner)}"),
                "This one has stopped and written no more. Let the other finish (`taskct study status` shows it), or "
                "run the same command again to continue.",
            )

    def beat(self) -> None:
        """Show that this driver lives, unless the lock is lost."""
        with suppress(StudyError):
            self.check()
            beating = replace(self._driver, heartbeat=time.time())
            write_json(Folder(self._folder).lock, asdict(beating))

    def release(self) -> None:
        owner = read_driver(self._folder)
        if owner is not None and owner.token == self._driver.token:
            Folder(self._folder).lock.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Give up the kernel's lock alone, as a process that dies does."""
        if self._kernel_lock is not None:
            os.close(self._kernel_lock)

    def _kernel_lock_is_in_place(self) -> bool:
        """Whether others would meet our kernel's lock: not if its file was replaced."""
        if self._kernel_lock is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._kernel_lock), _mutex(self._folder).stat())
        except FileNotFoundError:
            return False


@contextmanager
def study_lock(folder: Path, what: str = "study") -> Iterator[StudyLock]:
    """Hold the lock of the study, or of ``what`` else is in ``folder``, while the block runs.

    Raises:
        StudyError: if a living driver holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = acquire(folder, what)
    remove_partials(folder)
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
    """Who holds the lock of the study in ``folder``, alive or not; ``None`` if nobody does, or it cannot be read."""
    try:
        return _parse(parse_json(read_whole(Folder(folder).lock)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _parse(values: dict[str, Any]) -> Driver:
    """A driver as this version or an older one wrote it.

    Raises:
        TypeError: if a value is missing or of another type.
    """
    known = {name: values[name] for name in _KINDS if name in values}
    driver = Driver(**known)
    for name, kind in _KINDS.items():
        value = getattr(driver, name)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"{name} = {value!r}")
    return driver


def acquire(folder: Path, what: str = "study") -> StudyLock:
    """Take the lock, without a heartbeat.

    Raises:
        StudyError: if a living driver holds it.
    """
    kernel_lock = None if is_remote(folder) else _lock_in_kernel(folder, what)
    try:
        owner = read_driver(folder)
        if owner is not None and not _is_dead(folder, owner, kernel_lock is not None):
            raise _refusal(folder, owner, what)
        driver = _this_driver()
        if kernel_lock is not None:
            write_json(Folder(folder).lock, asdict(driver))
        else:
            _create(folder, driver, what)
    except BaseException:
        if kernel_lock is not None:
            os.close(kernel_lock)
        raise
    return StudyLock(folder, driver, kernel_lock, what)


def _mutex(folder: Path) -> Path:
    return folder / f".{Folder.lock}.mutex"


def _lock_in_kernel(folder: Path, what: str) -> int | None:
    """The open file whose lock the kernel holds until it is closed; None where the file system has no such locks.

    Raises:
        StudyError: if another process holds it.
    """
    if fcntl is None:
        return None
    file = os.open(_mutex(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in _NO_KERNEL_LOCKS:
            return None
        if isinstance(error, BlockingIOError):
            raise _refusal(folder, read_driver(folder), what) from None
        raise
    return file


def _is_dead(folder: Path, owner: Driver, have_kernel_lock: bool) -> bool:
    if have_kernel_lock and owner.boot and owner.boot == _this_machine()[1]:
        return True  # it would hold the lock that we have
    if owner.is_alive:
        return False
    if owner.is_beside_us:
        return True
    time.sleep(WATCH_SECONDS)
    return read_driver(folder) == owner


def _this_driver() -> Driver:
    now, pid = time.time(), os.getpid()
    host, boot, namespace = _this_machine()
    return Driver(host, pid, uuid.uuid4().hex, now, now, boot, namespace, _start_of_this(pid))


def _create(folder: Path, driver: Driver, what: str) -> None:
    """Create driver.lock where no kernel guards it, in the place of a stale one."""
    path = Folder(folder).lock
    path.unlink(missing_ok=True)
    try:
        create_exclusively(path, json.dumps(asdict(driver)).encode())
    except FileExistsError:
        raise _refusal(folder, read_driver(folder), what) from None


def _refusal(folder: Path, owner: Driver | None, what: str) -> StudyError:
    shown = "; `taskct study status` shows how far it is" if what == "study" else ""
    return StudyError(
        f"a {what} must have one driver at a time",
        f"{folder} is run by {_where(owner) if owner else 'another process'}",
        f"Wait for it or stop it{shown}.",
    )


def _beat_until(stop: threading.Event, lock: StudyLock) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):  # a full disk ends the run where results are stored; it may have room again
            lock.beat()


@functools.cache
def _this_machine() -> tuple[str, str, str]:
    """Host name, id of the kernel's boot, and the namespace of process numbers; empty where there are none."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return socket.gethostname(), boot, namespace


@functools.cache
def _start_of_this(pid: int) -> float:
    """When this process started, by its number: a fork has another."""
    return _start_of(pid) or 0.0


def _start_of(pid: int) -> float | None:
    """When a process started; None if it does not run. Ticks since boot stay as they are when the clock is set."""
    try:
        if Path("/proc/self/stat").exists():
            state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if state == "Z" else float(numbers[18])  # field 22 of proc_pid_stat(5)
        return float(psutil.Process(pid).create_time())
    except (OSError, psutil.NoSuchProcess):
        return None


def _where(driver: Driver) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(driver.since))
    return f"process {driver.pid} on {driver.host} since {since}"
