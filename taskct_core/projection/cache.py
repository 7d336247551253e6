"""Arrays kept on disk: built once a machine, memory-mapped, and so shared by its processes.

Entries are folders of .npy files below ``$TASKCT_CACHE`` or the platform's cache folder, and can be
deleted whenever no process uses them. An entry appears under its name only when complete, so a killed
or failed builder leaves nothing that a reader could take for a matrix. A process that opens an entry
reads it once and compares its checksums; whatever is damaged is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from taskct_core.contracts.files import parse_json

Arrays = dict[str, NDArray[np.generic]]
_CHECKSUMS_FILE = "arrays.json"  # of the arrays' files, and of the list itself


def cache_folder() -> Path:
    """``$TASKCT_CACHE``, or the platform's cache folder for taskct."""
    return Path(os.environ.get("TASKCT_CACHE") or user_cache_dir("taskct", appauthor=False))


def cached_arrays(kind: str, key: dict[str, Any], build: Callable[[], Arrays]) -> Arrays:
    """The arrays that ``build`` makes for a key, from disk where they were made before.

    One process of a machine builds while the others wait. Where the folder cannot be written, the
    arrays are built in memory, with a warning.

    Args:
        kind: names the entry's folder, before a hash of the key.
        key: plain JSON values on which the arrays depend, a format version included.
    """
    entry = cache_folder() / f"{kind}-{_digest(key)}"
    try:
        return _cached(entry, build)
    except OSError as error:
        warnings.warn(
            f"The cache {entry.parent} cannot be used ({error}), so this process builds its own matrix in "
            "memory. Set TASKCT_CACHE to a folder with room.",
            stacklevel=2,
        )
        return build()


def _cached(entry: Path, build: Callable[[], Arrays]) -> Arrays:
    if (arrays := _read(entry)) is not None:
        return arrays
    entry.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{entry}.lock"):
        if (arrays := _read(entry)) is not None:  # built by another process meanwhile
            return arrays
        return _build_into(entry, build)


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def _build_into(entry: Path, build: Callable[[], Arrays]) -> Arrays:
    arrays = build()
    unfinished = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", dir=entry.parent))
    try:
        for name, array in arrays.items():
            np.save(unfinished / f"{name}.npy", array)
        checksums = {name: _checksum(unfinished / f"{name}.npy") for name in sorted(arrays)}
        (unfinished / _CHECKSUMS_FILE).write_text(json.dumps(_with_own_checksum(checksums)), encoding="utf-8")
        if entry.exists():  # damaged
            shutil.rmtree(entry)
        unfinished.rename(entry)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return _read(entry) or arrays


def _read(entry: Path) -> Arrays | None:
    """An entry's arrays; None where it is missing or not what was written, down to the last bit."""
    try:
        listed = parse_json((entry / _CHECKSUMS_FILE).read_bytes())
        checksums = listed["arrays"]
        if listed != _with_own_checksum(checksums) or any(
            _checksum(entry / f"{name}.npy") != checksum for name, checksum in checksums.items()
        ):
            return None
        # Copy on write: PyTorch wants writable memory, and nobody writes, so all processes share the pages.
        return {name: np.load(entry / f"{name}.npy", mmap_mode="c") for name in checksums}
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None


def _with_own_checksum(checksums: dict[str, int]) -> dict[str, Any]:
    return {"arrays": checksums, "checksum": zlib.crc32(json.dumps(checksums, sort_keys=True).encode())}


def _checksum(file: Path) -> int:
    """CRC-32 of a whole file: quick enough to read an entry's each time that a process opens it."""
    checksum = 0
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
