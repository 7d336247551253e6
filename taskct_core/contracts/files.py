"""Folders on this machine or at a URL (``s3://bucket/runs``), and files that are written whole or not at all.

A remote folder is a ``UPath``, which has the methods of a ``Path``; annotations say ``Path`` for both. What an
object store cannot do is done otherwise here: it has no rename, no appending and no lock, but an object appears
whole or not at all, and may be created only if it is absent.

Credentials and endpoints come from the environment (``AWS_...``), which every node must have.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.redaction import redacted

_PROBE_BYTES = 4096
_READS = 10  # of a file that is replaced every time
_PARTIAL = ".partial"
_LOCAL = ("file://", "local://")


def is_url(text: str) -> bool:
    """Whether a setting names a folder on another machine."""
    return "://" in text and not text.startswith(_LOCAL)


def open_folder(text: str | Path) -> Path:
    """A setting such as ``output`` -> an absolute local path, or a remote folder.

    Raises:
        ConfigError: if the URL's protocol is unknown or its package is not installed, or it holds a password: a folder's
            name is written into files, messages and reports.
    """
    if is_remote(text):
        return cast(Path, text)
    if not is_url(str(text)):
        return Path(str(text).split("://")[-1]).expanduser().resolve()
    if redacted(str(text)) != str(text):
        raise ConfigError(
            "a folder's URL must hold no password or token, as its name is written into files and messages",
            str(text),
            "Give credentials in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    from upath import UPath

    try:
        # Listings that fsspec remembers would hide what other processes write.
        folder = UPath(str(text), use_listings_cache=False)
        assert folder.fs is not None  # made on first use
    except (ImportError, ValueError) as error:
        raise ConfigError(
            "a folder must be a path or the URL of a storage that fsspec knows",
            f"{text!r} ({error})",
            "For s3://, install taskct[s3]; for others, the fsspec package of that storage.",
        ) from None
    return cast(Path, folder)


def check_writable(folder: Path) -> None:
    """Write and remove a small file in an output folder, before hours of work cannot be stored there.

    Raises:
        ConfigError: if it is read-only or full, or a remote storage cannot be reached.
    """
    # A local folder is made when something is put into it, not for a command that may yet be refused.
    place = folder
    if not is_remote(folder):
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    probe = place / f".taskct-{uuid.uuid4().hex}"
    try:
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            with suppress(Exception):  # a full disk keeps the empty file
                probe.unlink()
    except Exception as error:  # each storage's client has errors of its own
        raise ConfigError(
            "an output must be a folder that may be written and has space left",
            f"{folder} ({type(error).__name__}: {first_line(error)})",
            "Name another output. Of a URL, check that the bucket exists, and the credentials and endpoint in the "
            "environment.",
        ) from None


def check_file_writable(file: Path) -> None:
    """As :func:`check_writable`, for a file that a command will write after it has computed for long.

    Raises:
        ConfigError: if it cannot be written, or is a folder.
    """
    if file.is_dir():
        raise ConfigError("an output file must not be a folder", str(file), "Name a file in it.")
    check_writable(file.parent if is_remote(file) else file.absolute().parent)


def is_remote(path: object) -> bool:
    """Whether a path that :func:`open_folder` made, or one below it, lies on another machine."""
    return not isinstance(path, str | Path)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, then move it into place.

    A reader sees the old file or the whole new one; after a crash at worst a ``.partial`` file is left
    beside a local ``path``, which no reader looks at and ``remove_partials`` removes. What belongs into a remote
    folder is filled on this machine and uploaded.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="taskct-") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            upload(temporary, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_host()}-{os.getpid()}{_PARTIAL}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what processes of this host that are gone left half written in a local folder and below it."""
    if is_remote(folder):
        return
    for partial in folder.rglob(f".*{_PARTIAL}"):
        owner = partial.name.removesuffix(_PARTIAL).rpartition(".")[2]
        host, _, process = owner.rpartition("-")
        if process.isdecimal() and host in ("", _host()) and not _is_alive(int(process)):
            partial.unlink(missing_ok=True)


def _host() -> str:
    """This host in eight letters, which tell nothing of it."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; see :func:`write_whole`."""
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole; see :func:`write_whole`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, values: object) -> None:
    """Write plain values as indented JSON, whole; see :func:`write_whole`."""
    write_text(path, json.dumps(values, indent=2, default=str) + "\n")


def parse_json(content: bytes) -> Any:  # noqa: ANN401  whatever JSON holds: who asks knows what to check
    """The plain values of a JSON text in UTF-8.

    Raises:
        ValueError: if it is none, holds a number of thousands of digits or text that no file can hold, or nests
            deeper than Python follows.
    """
    try:
        values = json.loads(content.decode("utf-8"))
        if b"\\u" in content and not is_unicode(json.dumps(values, ensure_ascii=False)):
            raise ValueError(f"a text in it {HALF_A_LETTER}")
        return values
    except RecursionError:
        raise ValueError("values are nested too deep") from None


HALF_A_LETTER = r"holds half a letter (a lone surrogate, \ud800 to \udfff), which cannot be written to a file"


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8, which half a surrogate pair of a JSON or YAML text cannot."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def read_json(path: Path, next_step: str) -> Any:  # noqa: ANN401  as parse_json
    """Read a JSON file.

    Raises:
        DataError: if it is none, with the user's ``next_step``.
    """
    try:
        return parse_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path.name} must be valid JSON", f"{path}: {first_line(error)}", next_step
        ) from None


def read_whole(path: Path) -> bytes:
    """The bytes of a file that others may replace meanwhile, of one of its versions.

    Between looking at a remote file and fetching it another may have come, which ``s3fs`` refuses as busy.
    """
    for _ in range(_READS - 1):
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    return path.read_bytes()


def upload(local: Path, target: Path) -> None:
    """Put a local file where ``target`` names a remote one; readers see the old object or the new one."""
    remote = cast(Any, target)
    remote.fs.put_file(str(local), remote.path)


def create_exclusively(target: Path, content: bytes) -> None:
    """Write a file that must not be there yet.

    Raises:
        FileExistsError: if it is.
    """
    if not is_remote(target):
        with target.open("xb") as file:
            file.write(content)
        return
    remote = cast(Any, target)
    remote.fs.pipe_file(remote.path, content, mode="create")


def arrow_source(paths: list[Path]) -> tuple[list[str], Any]:
    """What Ray Data and pyarrow take for these files: their names, and the filesystem that has them."""
    if not paths or not is_remote(paths[0]):
        return [str(path) for path in paths], None
    remote = cast(list[Any], paths)
    return [path.path for path in remote], remote[0].fs


def arrow_filesystem(path: Path) -> tuple[str, Any]:
    """A folder as Ray Train takes its storage: its name, and a pyarrow filesystem (None: the local one)."""
    names, filesystem = arrow_source([path])
    if filesystem is None:
        return names[0], None
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    return names[0], PyFileSystem(FSSpecHandler(filesystem))


def buffered(path: Path) -> io.BytesIO:
    """A file's bytes, for libraries that open local files or file objects only."""
    return io.BytesIO(path.read_bytes())


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A file as one on this machine, while the block runs: itself, or a temporary copy of a remote one."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="taskct-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy


@contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """A local folder for what only this process reads: ``folder / name``, or a temporary one if it is remote.

    Emptied before and after the block.
    """
    if is_remote(folder):
        with tempfile.TemporaryDirectory(prefix="taskct-") as temporary:
            yield Path(temporary)
        return
    shutil.rmtree(folder / name, ignore_errors=True)
    yield folder / name
    shutil.rmtree(folder / name, ignore_errors=True)
