"""Where a study's truth is kept: an Optuna storage, and the file in the study folder that names it.

Writes ``<study>/storage.json`` (study name and storage URL) and, by default, ``<study>/journal.log``.
Only the driver that holds the study's lock writes; readers need no lock.
"""

from __future__ import annotations

import errno
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from taskct_core.contracts.files import is_remote, write_json
from taskct_core.errors import ConfigError, StudyError

JOURNAL_FILE = "journal.log"
STORAGE_FILE = "storage.json"
_UNUSABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}
_CONTINUE = "Mend it and run the study again: it continues where it stopped."


@dataclass(frozen=True)
class StorageCard:
    """Which Optuna study a folder belongs to."""

    study_name: str
    url: str | None  # None: the journal file in the study folder


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn what a storage raises when it is full, read-only or gone into a StudyError."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StudyError(
            "the study's database must stay reachable", str(error).splitlines()[0], _CONTINUE
        ) from error
    except OSError as error:
        if error.errno not in _UNUSABLE:
            raise
        raise StudyError(
            "the study folder must be writable and have space left", f"{folder}: {error.strerror}", _CONTINUE
        ) from error


def read_card(folder: Path) -> StorageCard:
    """Raises:
    StudyError: if ``folder`` holds no study.
    """
    path = folder / STORAGE_FILE
    try:
        return StorageCard(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StudyError(
            "a study folder must hold a storage.json", str(folder), "Start the study with `taskct study run`."
        ) from None
    except (json.JSONDecodeError, TypeError) as error:
        raise StudyError(
            "storage.json must name the study and its storage",
            f"{path}: {error}",
            "Restore it from a backup.",
        ) from None


def check_storage(folder: Path, url: str | None) -> None:
    """Refuse a journal on an object store, which can neither append to a file nor lock it.

    Raises:
        ConfigError: if the folder is remote and no database is named.
    """
    if is_remote(folder) and url is None:
        raise ConfigError(
            "a study with a remote output needs a database as its storage: object stores cannot append to a journal",
            f"output {folder} without study.storage",
            "Set study.storage: sqlite:////local/path/study.db (this machine only) or postgresql://host/db.",
        )


def create_study(folder: Path, url: str | None, directions: Sequence[str]) -> optuna.Study:
    """Open the study of ``folder``, or create it there. The caller holds the study's lock.

    Raises:
        ConfigError: if the folder is remote and no database is named.
        StudyError: if the folder's study lives in another storage, or the storage cannot be opened.
    """
    check_storage(folder, url)
    if not (folder / STORAGE_FILE).exists():
        # A random part: two folders of one name may share one database.
        write_json(folder / STORAGE_FILE, asdict(StorageCard(f"{folder.name}-{uuid.uuid4().hex[:8]}", url)))
    card = read_card(folder)
    if card.url != url:
        raise StudyError(
            "a study must stay in the storage it began in",
            f"storage: {card.url or JOURNAL_FILE} -> {url or JOURNAL_FILE}",
            "Restore `study.storage`, or begin a new study under another name.",
        )
    if url is None:
        _mend_journal(folder / JOURNAL_FILE)
    storage = _open_storage(folder, card)
    return optuna.create_study(
        storage=storage,
        study_name=card.study_name,
        directions=[StudyDirection[direction.upper()] for direction in directions],
        load_if_exists=True,
    )


def open_study(folder: Path, *, writable: bool = False) -> optuna.Study:
    """Open the study of ``folder``: for reading, or for writing too by the holder of its lock.

    Raises:
        StudyError: if there is none, or its storage cannot be opened.
    """
    card = read_card(folder)
    if card.url is None and not (folder / JOURNAL_FILE).exists():
        raise StudyError(f"a study must have its {JOURNAL_FILE}", str(folder), "Restore it from a backup.")
    if writable and card.url is None:
        _mend_journal(folder / JOURNAL_FILE)
    try:
        return optuna.load_study(study_name=card.study_name, storage=_open_storage(folder, card))
    except KeyError:
        raise StudyError(
            "the storage must hold the folder's study", card.study_name, "Check `study.storage`."
        ) from None


def _open_storage(folder: Path, card: StorageCard) -> BaseStorage:
    if card.url is None:
        path = str(folder / JOURNAL_FILE)
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        return optuna.storages.get_storage(card.url)
    except (ImportError, ValueError, SQLAlchemyError) as error:
        raise StudyError(
            "study.storage must be the URL of a reachable database, such as sqlite:///study.db",
            f"{card.url!r} ({error})",
            "Start the database, install its driver, or leave the URL out for a journal file.",
        ) from None


def _mend_journal(path: Path) -> None:
    """Undo what a killed driver can leave: a torn last line, and the lock of a write.

    Optuna would append to the torn line and never read the journal again, and wait 30 s for the lock.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
