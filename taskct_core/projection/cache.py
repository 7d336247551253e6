"""Arrays kept on disk: built once a machine, memory-mapped, and so shared by its processes.

Entries are folders of .npy files below ``$TASKCT_CACHE`` or the platform's cache folder, and can be
deleted whenever no process uses them. An entry appears under its name only when complete, so a killed
or failed builder leaves nothing that a reader could take for a matrix.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_dir

Arrays = dict[str, NDArray[np.generic]]


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
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    entry = cache_folder() / f"{kind}-{digest}"
    if entry.is_dir():
        return _read(entry)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            if not entry.is_dir():
                return _build_into(entry, build)
        return _read(entry)
    except OSError as error:
        warnings.warn(
            f"The cache {entry.parent} cannot be used ({error}), so this process builds its own matrix in "
            "memory. Set TASKCT_CACHE to a folder with room.",
            stacklevel=2,
        )
        return build()


def _build_into(entry: Path, build: Callable[[], Arrays]) -> Arrays:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", dir=entry.parent))
    try:
        for name, array in build().items():
            np.save(unfinished / f"{name}.npy", array)
        unfinished.rename(entry)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return _read(entry)


def _read(entry: Path) -> Arrays:
    # Copy on write: PyTorch wants writable memory, and nobody writes, so all processes share the pages.
    return {file.stem: np.load(file, mmap_mode="c") for file in entry.glob("*.npy")}
