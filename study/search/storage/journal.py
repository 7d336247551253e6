"""The journal file of a study without a database, ``<study>/journal.log``: one JSON object a line, which Optuna appends.

A bad disk, a copy or an editor may leave it with blank lines, joined lines or zeros at its end, and a kill with half a
line. All that is mended before a driver writes, for what is meant is plain; a line that cannot be read may stand for
anything, so a journal with one is refused.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from taskct_core.contracts.files import write_bytes
from taskct_core.errors import StudyError

_JOINT = re.compile(rb"\}\s*\{")
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


class CheckedJournal(JournalFileBackend):
    """Optuna's journal file, which is neither read on nor appended to once it was damaged under its process.

    Optuna asks before each of its answers what has come since; that is read from where reading last ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0  # that it had when it was last looked at: it only grows
        self._read = (0, 0)  # how many operations were read, and where in the file that was
        super().__init__(str(path), lock_obj=JournalFileOpenLock(str(path)))
        self._file = _identity(self._check())

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Optuna's operations from one number on, as far as the file now goes.

        Raises:
            StudyError: if the file was cut, or a line that has come since cannot be read.
        """
        self._check()
        number, place = self._read if self._read[0] <= log_number_from else (0, 0)
        if (number, place) == (log_number_from, self._size):
            return
        with self._path.open("rb") as file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n"):  # its driver is writing it
                    return
                number, place = number + 1, place + len(line)
                if number > log_number_from:
                    yield self._operation(line)
                    self._read = (number, place)

    def _operation(self, line: bytes) -> dict[str, Any]:
        try:
            operation: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise _unreadable(self._path, str(error)) from None
        return operation

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Force operations to disk.

        Raises:
            StudyError: if the file was cut, replaced, or ends in half a line, to which this would be joined.
        """
        if _identity(self._check()) != self._file or not _ends_a_line(self._path):
            raise _damaged(self._path, "which was replaced, or does not end with a whole line")
        super().append_logs(logs)

    def _check(self) -> os.stat_result | None:
        """The file's state; None where there is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            found = None
        size = found.st_size if found else 0
        if size < self._size:
            raise _damaged(self._path, f"which had {self._size} bytes and has {size}")
        self._size = size
        return found


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if found else None


def open_journal(path: Path) -> JournalStorage:
    """Open a journal for reading, or for writing once :func:`mend_journal` has seen it.

    Raises:
        StudyError: if a line of it cannot be read.
    """
    try:
        return JournalStorage(CheckedJournal(path))
    except _UNREADABLE as error:  # whatever a line may hold
        raise _unreadable(path, f"{type(error).__name__}: {error}") from None


def mend_journal(path: Path) -> None:
    """Make a journal one that Optuna can append to, where that is possible. Only the driver may call this.

    What a killed driver leaves, half a line at the end and the lock of a write, is removed: Optuna would append to that
    line and never read the journal again, and wait 30 s for the lock. Anything more is mended in a copy that takes the
    journal's place, and the damaged one is kept beside it.

    Raises:
        StudyError: if a line can be read as no objects.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    content = path.read_bytes() if path.exists() else b""
    mended = _mended(content)
    if mended is None:
        raise _unreadable(path, "a line within it is no JSON object")
    if mended in (content, b""):  # where nothing can be read there is nothing to mend
        return
    if content.startswith(mended) and b"\0" not in content:
        os.truncate(path, len(mended))
        return
    kept = _free_name(path)
    write_bytes(kept, content)
    write_bytes(path, mended)
    warnings.warn(f"{path} was damaged and is mended; as it was it is kept in {kept.name}.", stacklevel=2)


def _mended(content: bytes) -> bytes | None:
    """The content with one whole object a line; None if a line within it can be read as no objects."""
    *lines, last = content.rstrip(b"\0").split(b"\n")
    objects: list[bytes] = []
    for line in lines:
        found, rest = _objects(line)
        if rest:
            return None
        objects += found
    found, rest = _objects(last)
    objects += found if rest else found[:-1]  # an object without its end of line was not yet written
    return b"".join(line + b"\n" for line in objects)


def _objects(line: bytes) -> tuple[list[bytes], bytes]:
    """The JSON objects that a line begins with, and what follows them."""
    line = line.strip(b" \t\r\0")
    if line.startswith(b"{") and line.endswith(b"}") and not _JOINT.search(line):
        return [line], b""  # as Optuna writes it; JSON is read when the journal is opened
    found, rest = [], line.decode("utf-8", errors="replace")
    while rest:
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        found.append(rest[:end].encode())
        rest = rest[end:].strip(" \t\r\0")
    return found, rest.encode()


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return size == 0 or file.read(1) == b"\n"


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in range(10**6))
    return next(name for name in names if not name.exists())


def _unreadable(path: Path, problem: str) -> StudyError:
    content = path.read_bytes()
    if _mended(content) not in (None, content):
        step = (
            "Run the study again with `taskct study run`: it mends what can be understood, and keeps a copy."
        )
    else:
        step = (
            "Restore it from a backup, or make it again from the trials' folders with `taskct study rebuild "
            f"{path.parent}`."
        )
    return StudyError(f"{path.name} must be readable to its end", f"{path} ({problem})", step)


def _damaged(path: Path, problem: str) -> StudyError:
    return StudyError(
        f"{path.name} must be changed by its study's driver alone while that runs",
        f"{path}, {problem}",
        "This driver has written no more to it. Run the study again: it mends what can be understood and continues, "
        f"or says what is missing. If it cannot, `taskct study rebuild {path.parent}` makes it anew.",
    )
