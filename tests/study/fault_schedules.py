"""Faults by schedule: a whole study on a disk that tears, fills, breaks and forgets, with drivers that are killed.

From one seed comes one schedule: a study, the write at which its first driver dies, what that leaves on disk, and the
faults that its later drivers meet. Everything of ours is real, and so is Optuna's journal; only ``fsync`` is not, for
every write passes it, so that is where a schedule strikes, and the clock that locks are dated by. The first driver's
run up to its end is the same in every schedule of a study, so it is run once and its disk is kept at every write.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from study.search import lock as lock_module
from study.search.conductor import Conductor
from study.search.config import StudyConfig
from study.search.events import Event, TrialFinished, TrialStarted
from study.search.judgement import Judge
from study.search.pruners import make_pruner
from study.search.samplers import make_sampler
from study.search.space import SearchSpace
from study.search.storage.opening import LostStorageError, create_study, open_study, storage_errors
from study.search.storage.records import TrialRecord, read_records
from study.search.trial_state import Proposal, Rules
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import epoch_row
from taskct_core.errors import StudyError
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR

DIRECTIONS = {PRIMARY_DICE: "maximize", PRIMARY_PSNR: "maximize"}
OTHER_FAULTS = ("kill", "torn", "full", "broken", "rival", "stolen", "worker")
MOST_DRIVERS = 12


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@dataclass(frozen=True)
class Setting:
    """Which study a schedule runs."""

    trials: int
    epochs: int
    pruner: str
    runs_ahead: int
    seed: int
    concurrent: int  # trials at a time, an epoch of each in turn

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace.parse(self.config.space)

    @cached_property
    def config(self) -> StudyConfig:
        values = {
            "trials": self.trials,
            "max_retries": 20,
            "seed": self.seed,
            "space": {"alpha": {"kind": "choice", "values": [0.1, 0.4, 0.7]}},
            "sampler": {"name": "random"},
            "pruner": {"name": self.pruner, "reduction_factor": 2},
        }
        return StudyConfig.parse(values)


SETTINGS = [
    Setting(trials, epochs, pruner, ahead, seed, concurrent)
    for trials in (1, 2, 3)
    for epochs in (1, 2)
    for pruner, concurrent in (("none", 1), ("pareto_asha", 1), ("none", 2))
    for ahead in (0, 1)
    for seed in (0, 1, 2)
    if concurrent
    <= trials  # with a pruner, what two trials at a time are stopped for depends on who reports first
]


def row_at(alpha: float, epoch: int) -> dict[str, Any]:
    """What a trial reports: told by its values alone, and different for each."""
    return {EPOCH: epoch, PRIMARY_DICE: alpha * epoch / 10, PRIMARY_PSNR: 30 - alpha + epoch / 100}


@dataclass
class Disk:
    """A folder's disk: counts what is forced to it, and does at some writes what a schedule says.

    Attributes:
        folder: that lies on it.
        draw: random numbers of the schedule.
        faults: number of a write -> what happens there.
        on_write: called at each write, before its fault, with the file and its size before.
    """

    folder: Path
    draw: random.Random
    faults: dict[int, str] = field(default_factory=dict)
    on_write: Callable[[str, int], None] = lambda path, before: None
    writes: int = 0
    is_stolen: bool = False  # whether the lock has vanished under its driver

    def __post_init__(self) -> None:
        self._inside = len(str(self.folder)) + 1
        self._sizes = {
            path: os.stat(path).st_size
            for place, _, names in os.walk(self.folder)
            for path in (f"{place}/{name}" for name in names)
        }

    def fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        size = os.fstat(descriptor).st_size
        before = min(self._sizes.get(path, 0), size)  # a torn file may have been cut since
        self.writes += 1
        self.on_write(path[self._inside :], before)
        fault = self.faults.pop(self.writes, "none")
        if fault in ("torn", "full", "broken"):
            size = before + self.draw.randrange(size - before + 1)
            os.ftruncate(descriptor, size)
        self._sizes[path] = size
        if fault in ("kill", "torn"):
            raise Killed
        if fault in ("full", "broken"):
            number = errno.ENOSPC if fault == "full" else errno.EIO
            raise OSError(number, os.strerror(number))
        if (
            fault == "stolen" and StudyFolder.lock not in path
        ):  # a lock that is just being written comes after
            self.is_stolen = True
            StudyFolder(self.folder).lock.unlink(missing_ok=True)
        if fault == "rival":
            self._send_rival()

    def _send_rival(self) -> None:
        """A second driver tries to take over, at whatever time its clock shows."""
        jump = self.draw.choice((0.0, 1e6, -1e6))
        now = time.time()
        with mock.patch.object(time, "time", lambda: now + jump), suppress(StudyError):
            rival = lock_module.acquire(self.folder)
            rival.release()
            raise AssertionError("a second driver took the lock of one that lives")


class Driver:
    """One driver's life, as ``run_study`` and its executor spend it."""

    def __init__(self, setting: Setting, disk: Disk) -> None:
        self.setting, self.disk = setting, disk
        self.acknowledged: set[tuple[int, int]] = set()  # (trial, epoch) that the conductor has decided on
        self._after_theft = 0

    def run(self) -> None:
        config, space, folder = self.setting.config, self.setting.space, self.disk.folder
        with storage_errors(folder):
            lock = lock_module.acquire(folder)
            try:
                study = create_study(folder, None, list(DIRECTIONS.values()))
                study.sampler = make_sampler(config.sampler, space, config.seed)
                rules = Rules(
                    Judge(config.objectives, config.constraints),
                    config.trials,
                    self.setting.epochs,
                    max_retries=config.max_retries,
                    reports_wait=not self.setting.runs_ahead,
                )
                pruner = make_pruner(config, DIRECTIONS)
                conductor = Conductor(
                    study, StudyFolder(folder), space, rules, pruner, lock.check, self._note
                )
                self._work(conductor)
            except Killed:
                lock.abandon()  # driver.lock stays, as after a kill
                raise
            except BaseException:
                lock.release()
                raise
            lock.release()

    def _note(self, event: Event) -> None:
        """A driver may bring to an end what it was at when its lock vanished, but begin nothing more."""
        if self.disk.is_stolen and isinstance(event, TrialStarted | TrialFinished):
            self._after_theft += 1
            if self._after_theft > 1:
                raise AssertionError("a driver went on without its lock")

    def _work(self, conductor: Conductor) -> None:
        """Train every trial, some at a time: an epoch of each in turn."""
        at_work: list[tuple[Proposal, Iterator[bool]]] = []
        while True:
            while len(at_work) < self.setting.concurrent and (proposal := conductor.suggest()) is not None:
                at_work.append((proposal, self._train(conductor, proposal)))
            if not at_work:
                return
            proposal, epochs = at_work.pop(0)
            is_alive = next(epochs, None)
            if is_alive:
                at_work.append((proposal, epochs))
            else:
                conductor.complete(proposal.trial, failed=is_alive is False)

    def _train(self, conductor: Conductor, proposal: Proposal) -> Iterator[bool]:
        """Train a trial in a worker of its own, an epoch a step; False if the worker died."""
        alpha, epochs = proposal.values["alpha"], self.setting.epochs
        rows = epoch_log.read(proposal.folder)
        for epoch in range(1, epochs + 1):
            try:
                while len(rows) < min(epochs, epoch + self.setting.runs_ahead):
                    row = epoch_row(row_at(alpha, len(rows) + 1))
                    epoch_log.append(proposal.folder, row)
                    rows.append(row)
                if self.disk.faults.pop(-self.disk.writes, None) == "worker":
                    raise OSError(errno.EPIPE, "the worker died")
            except OSError as error:
                conductor.fail(proposal.trial, str(error))
                yield False
                return
            goes_on = conductor.report(proposal.trial, rows[epoch - 1])
            self.acknowledged.add((proposal.trial, epoch))
            if not goes_on:
                return
            yield True


@dataclass(frozen=True)
class Reference:
    """A study without faults: its table, and its disk after each write."""

    table: list[tuple[Any, ...]]
    disks: list[dict[str, bytes]]
    written: list[tuple[str, int]]  # by which write: file, and its size before
    lock: dict[str, Any]  # its driver's


def table(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    """What must not depend on faults."""
    return [(r.trial, r.status, r.values, r.objectives, r.last_epoch, r.duplicate_of) for r in records]


@cache
def reference(setting: Setting, room: Path) -> Reference:
    """Run a setting's study without faults, once."""
    folder = room / f"reference-{SETTINGS.index(setting)}"
    folder.mkdir()
    disks: list[dict[str, bytes]] = []
    written: list[tuple[str, int]] = []
    lock: dict[str, Any] = {}

    def keep(path: str, before: int) -> None:
        disks.append(_files(folder))
        written.append((path, before))
        with suppress(FileNotFoundError):  # its first write
            lock.update(json.loads(StudyFolder(folder).lock.read_text()))

    disk = Disk(folder, random.Random(0), on_write=keep)
    with mock.patch.object(os, "fsync", disk.fsync):
        Driver(setting, disk).run()
    found = table(read_records(open_study(folder)))
    shutil.rmtree(folder)
    return Reference(found, disks, written, lock)


def run_schedule(seed: int, room: Path) -> list[str]:
    """Run the schedule of a seed in an empty place below ``room``; return what was violated."""
    draw = random.Random(seed)
    setting = draw.choice(SETTINGS)
    clean = reference(setting, room)
    folder = room / "study"
    shutil.rmtree(folder, ignore_errors=True)
    may_refuse = _leave_first_driver(folder, clean, draw)
    acknowledged: set[tuple[int, int]] = set()
    problems: list[str] = []
    faults = _draw_faults(draw)
    for _ in range(MOST_DRIVERS):
        disk = Disk(folder, draw, faults)
        driver = Driver(setting, disk)
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(os, "fsync", disk.fsync))
            stack.enter_context(mock.patch.object(lock_module, "WATCH_SECONDS", 0.0))
            try:
                driver.run()
                break
            except LostStorageError:
                return problems if may_refuse else [*problems, "refused for a storage that is there"]
            except (Killed, StudyError):
                faults = {n - disk.writes: fault for n, fault in disk.faults.items() if abs(n) > disk.writes}
            except AssertionError as error:
                return [*problems, str(error)]
            finally:
                acknowledged |= driver.acknowledged
    else:
        return [*problems, f"not done after {MOST_DRIVERS} drivers"]
    return problems + _violations(setting, folder, clean, acknowledged)


def _draw_faults(draw: random.Random) -> dict[int, str]:
    """What later drivers meet, by the number of their write; ``worker``: by its negative, between two writes."""
    chosen = [(draw.randint(1, 40), draw.choice(OTHER_FAULTS)) for _ in range(draw.randint(0, 2))]
    return {(-write if fault == "worker" else write): fault for write, fault in chosen}


def _leave_first_driver(folder: Path, clean: Reference, draw: random.Random) -> bool:
    """Leave the disk as a first driver does that dies at some write; whether its storage may be refused."""
    write = draw.randrange(len(clean.disks))
    files = dict(clean.disks[write])
    fault = draw.choice(("kill", "torn", "torn", "lost"))
    name, before = clean.written[write]
    if fault == "torn" and name in files:
        files[name] = files[name][: before + draw.randrange(len(files[name]) - before + 1)]
    journal = StudyFolder.journal
    if fault == "lost" and journal in files:  # the disk had only said that these were safe
        lines = files[journal].splitlines(keepends=True)
        files[journal] = b"".join(lines[: len(lines) - draw.randint(1, 8)])
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    _leave_lock(folder, clean.lock, draw)
    return fault == "lost"


def _leave_lock(folder: Path, lock: dict[str, Any], draw: random.Random) -> None:
    """What a killed driver leaves of its lock: of this machine, or of one whose clock was ahead or behind."""
    kind = draw.choice(("ours", "elsewhere", "ahead", "damaged"))
    path = StudyFolder(folder).lock
    if kind == "damaged":
        path.write_text(json.dumps(lock)[: draw.randrange(40)])
        return
    left = lock | {"pid": 2**22 + 1}
    if kind != "ours":
        left |= {"boot": "another", "heartbeat": time.time() + (1e6 if kind == "ahead" else -1e6)}
    path.write_text(json.dumps(left))


def _violations(
    setting: Setting, folder: Path, clean: Reference, acknowledged: set[tuple[int, int]]
) -> list[str]:
    records = read_records(open_study(folder))
    problems = [] if table(records) == clean.table else [f"another table: {table(records)}"]
    for record in records:
        if record.duplicate_of is not None:
            continue
        log = StudyFolder(folder).trial(record.trial)
        rows = epoch_log.read(log)
        epochs = [row[EPOCH] for row in rows]
        known = {epoch for trial, epoch in acknowledged if trial == record.trial}
        if not known <= set(epochs):
            problems.append(f"trial {record.trial} lost epochs {sorted(known - set(epochs))}")
        if epochs != list(range(1, len(epochs) + 1)) or len(epochs) < record.last_epoch:
            problems.append(f"trial {record.trial} logged epochs {epochs}")
        if rows != [row_at(record.values["alpha"], epoch) for epoch in epochs]:
            problems.append(f"trial {record.trial} has rows of another")
        lines = log.epoch_log.read_text(errors="replace").splitlines()
        whole = [line for line in lines if line.endswith("}")]
        if len(whole) != len(epochs):
            problems.append(f"trial {record.trial} logged an epoch twice: {lines}")
    if StudyFolder(folder).lock.exists():
        problems.append("a lock was left behind")
    return problems


def _files(folder: Path) -> dict[str, bytes]:
    """The disk but for locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lock" not in path.name
    }
