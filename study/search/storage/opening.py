"""Where a study's truth is kept: an Optuna storage, and the file in the study folder that names it.

Writes ``<study>/storage.json`` (study name and storage URL) and, by default, ``<study>/journal.log``.
Only the driver that holds the study's lock writes; readers need no lock.
"""

from __future__ import annotations

import errno
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from study.search.storage.journal import mend_journal, open_journal
from study.search.storage.records import check_contents
from taskct_core.contracts.files import is_remote, parse_json, write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, StudyError
from taskct_core.redaction import HIDDEN, redacted

STORAGE_VARIABLE = "TASKCT_STORAGE"  # environment variable: the storage's URL with its password
_UNUSABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}
_CONTINUE = "Mend it and run the study again: it continues where it stopped."


@dataclass(frozen=True)
class StorageCard:
    """Which Optuna study a folder belongs to."""

    study_name: str
    url: str | None  # None: the journal file in the study folder; *** stands for a password


# URLs with passwords that this process was given, by what the folder's file keeps of them.
_given: dict[str, str] = {}


class LostStorageError(StudyError):
    """The storage does not hold the study of the folder; nothing may be written until the user has decided."""


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
    path = StudyFolder(folder).storage
    try:
        card = StorageCard(**parse_json(path.read_bytes()))
        if not isinstance(card.study_name, str) or not isinstance(card.url, str | None):
            raise TypeError("a name or URL that is no text")
        return card
    except FileNotFoundError:
        raise StudyError(
            f"a study folder must hold a {StudyFolder.storage}",
            str(folder),
            "Start the study with `taskct study run`.",
        ) from None
    except (ValueError, TypeError) as error:
        raise StudyError(
            f"{StudyFolder.storage} must name the study and its storage",
            f"{path}: {error}",
            "Restore it from a backup.",
        ) from None


def check_storage(folder: Path, url: str | None) -> None:
    """Refuse a storage that would not outlive the driver, or cannot be written where the folder is.

    Raises:
        ConfigError: for a journal on an object store, which can neither append to a file nor lock it, and for a
            database in memory.
    """
    if is_remote(folder) and url is None:
        raise ConfigError(
            "a study with a remote output needs a database as its storage: object stores cannot append to a journal",
            f"output {folder} without study.storage",
            "Set study.storage: sqlite:////local/path/study.db (this machine only) or postgresql://host/db.",
        )
    if url is not None and url.split("?")[0] in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise ConfigError(
            "a study's storage must outlive its driver",
            f"study.storage = {url!r}, a database in memory",
            "Name a file: sqlite:////path/study.db, or leave study.storage out for a journal file.",
        )


def create_study(folder: Path, url: str | None, directions: Sequence[str]) -> optuna.Study:
    """Open the study of ``folder``, or create it there. The caller holds the study's lock.

    Raises:
        ConfigError: if the storage cannot be used there.
        StudyError: if the folder's study lives in another storage, the storage cannot be opened, or it does not know
            the trials of the folder: a new study would take their scores for those of its own trials.
    """
    check_storage(folder, url)
    if url is None:
        mend_journal(StudyFolder(folder).journal)
    if not StudyFolder(folder).storage.exists():
        if StudyFolder(folder).trials_on_disk() and not _journal_names(folder, url):
            raise _lost(folder, f"no {StudyFolder.storage}, which names the study and its storage")
        begin_study(folder, url, directions)
    card = read_card(folder)
    if url is not None:
        _given[redacted(url)] = url
    if not _same_place(card.url, url):
        raise StudyError(
            "a study must stay in the storage it began in",
            f"storage: {card.url or StudyFolder.journal} -> {url or StudyFolder.journal}",
            "Restore `study.storage`, or begin a new study under another name.",
        )
    study = _open(folder, card)  # its journal is mended
    unknown = unknown_trials(study, folder)
    if unknown:
        numbers = ", ".join(map(str, unknown))
        raise _lost(folder, f"nothing of trials {numbers}: {_place(folder, card)} is older than they are")
    return study


def begin_study(folder: Path, url: str | None, directions: Sequence[str]) -> None:
    """Create the folder's study in its storage, and then the file that names it: a study that is named is there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = _journal_names(folder, url)
    if url is None and not names:  # half of a first line, to which Optuna would append
        StudyFolder(folder).journal.unlink(missing_ok=True)
    # A random part: two folders of one name may share one database.
    card = StorageCard(
        names[0] if names else f"{_experiment_of(folder)}-{uuid.uuid4().hex[:8]}", url and redacted(url)
    )
    if url is not None:
        _given[redacted(url)] = url
    optuna.create_study(
        storage=_open_storage(folder, card),
        study_name=card.study_name,
        directions=[StudyDirection[direction.upper()] for direction in directions],
        load_if_exists=True,
    )
    write_json(StudyFolder(folder).storage, asdict(card))


def _experiment_of(folder: Path) -> str:
    """What the study is called: its folder is OUTPUT/NAME/study."""
    return folder.parent.name if folder.name == "study" and folder.parent.name else folder.name


def reopen_or_begin(folder: Path, url: str | None, directions: Sequence[str]) -> optuna.Study:
    """Open what is left of the folder's storage, or begin it anew; files that cannot be read are set aside.

    ``url`` counts where no readable storage.json names the storage.
    """
    _set_aside_unreadable(folder)
    if StudyFolder(folder).storage.exists():
        try:
            return open_study(folder, writable=True)
        except LostStorageError:
            url = read_card(folder).url
    begin_study(folder, url, directions)
    return open_study(folder, writable=True)


def open_study(folder: Path, *, writable: bool = False) -> optuna.Study:
    """Open the study of ``folder``: for reading, or for writing too by the holder of its lock. Creates nothing.

    Raises:
        StudyError: if there is none, or its storage is gone, knows nothing of it or cannot be opened.
    """
    card = read_card(folder)
    if writable and card.url is None and _storage_exists(folder, card):
        mend_journal(StudyFolder(folder).journal)
    return _open(folder, card)


def _open(folder: Path, card: StorageCard) -> optuna.Study:
    """The card's study, for whoever needs no sampler or sets one."""
    if not _storage_exists(folder, card):
        raise _lost(folder, f"no {_place(folder, card)}")
    try:
        study = optuna.load_study(
            study_name=card.study_name,
            storage=_open_storage(folder, card),
            sampler=optuna.samplers.RandomSampler(),  # the default, TPE, takes longer to make than a journal to read
        )
    except KeyError:
        raise _lost(folder, f"no study {card.study_name} in {_place(folder, card)}") from None
    check_contents(study)
    return study


def name_objectives(study: optuna.Study, objectives: list[str]) -> None:
    """What status and the Optuna dashboard call the study's values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(objectives)


def unknown_trials(study: optuna.Study, folder: Path) -> list[int]:
    """Trials that left files in the folder although the storage has not begun them."""
    trials = study.get_trials(deepcopy=False)
    begun = {trial.number for trial in trials if trial.state != TrialState.WAITING}
    return [number for number in StudyFolder(folder).trials_on_disk() if number not in begun]


def _lost(folder: Path, received: str) -> LostStorageError:
    trials = len(StudyFolder(folder).trials_on_disk())
    return LostStorageError(
        "the storage must hold the study whose trials are in the folder",
        f"{folder} with files of {trials} trials, and {received}",
        f"Restore what is missing from a backup, make it again from the trials' folders with `taskct study rebuild "
        f"{folder}`, or begin anew with another output.",
    )


def _journal_names(folder: Path, url: str | None) -> list[str]:
    """Names of the studies in the folder's journal: one, if a study was begun in it."""
    card = StorageCard("", None)
    if url is not None or not _storage_exists(folder, card):
        return []
    return [study.study_name for study in _open_storage(folder, card).get_all_studies()]


def _place(folder: Path, card: StorageCard) -> str:
    return str(StudyFolder(folder).journal) if card.url is None else make_url(card.url).render_as_string()


def _storage_exists(folder: Path, card: StorageCard) -> bool:
    """Whether the storage is there to be read; opening it would create what is missing."""
    if card.url is None:
        return (StudyFolder(folder).journal).is_file()
    url = _whole_url(card.url)
    with _usable_database(card.url):
        address = make_url(url)
        file = address.database or ""
        if (
            address.get_backend_name() == "sqlite"
            and not file.startswith("file:")
            and not Path(file).is_file()
        ):
            return False
        engine = create_engine(address)
        try:
            return inspect(engine).has_table("studies")
        finally:
            engine.dispose()


def _open_storage(folder: Path, card: StorageCard) -> BaseStorage:
    if card.url is None:
        return open_journal(StudyFolder(folder).journal)
    url = _whole_url(card.url)
    with _usable_database(card.url):
        return optuna.storages.get_storage(url)


def _same_place(kept: str | None, url: str | None) -> bool:
    return kept == url or (kept is not None and url is not None and redacted(kept) == redacted(url))


def _whole_url(kept: str) -> str:
    """A storage's URL with its password, of which the study's folder keeps none.

    Raises:
        StudyError: if neither the command's configuration nor the environment gives it.
    """
    if HIDDEN not in kept:
        return kept
    url = _given.get(kept) or os.environ.get(STORAGE_VARIABLE, "")
    if redacted(url) != kept:
        raise StudyError(
            "a study's folder keeps no password, so who opens its database must give it",
            f"{kept} without {STORAGE_VARIABLE}",
            f"Set the environment variable {STORAGE_VARIABLE} to the whole URL, or keep the password in ~/.pgpass.",
        )
    return url


def _set_aside_unreadable(folder: Path) -> None:
    """Rename a storage.json or journal that cannot be read to ``NAME.unreadable``."""
    for name, read in (
        (StudyFolder.storage, read_card),
        (StudyFolder.journal, _read_journal),
    ):
        path = folder / name
        try:
            if path.exists():
                read(folder)
        except StudyError:
            path.rename(path.with_name(f"{name}.unreadable"))


def _read_journal(folder: Path) -> None:
    mend_journal(StudyFolder(folder).journal)
    storage = open_journal(StudyFolder(folder).journal)
    for study in storage.get_all_studies():
        check_contents(optuna.load_study(study_name=study.study_name, storage=storage))


@contextmanager
def _usable_database(url: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, ValueError, SQLAlchemyError) as error:
        raise StudyError(
            "study.storage must be the URL of a reachable database, such as sqlite:///study.db",
            f"{url!r} ({error})",
            "Start the database, install its driver (PostgreSQL: pip install 'taskct[postgresql]'), or leave the URL out for "
            "a journal file.",
        ) from None
