"""Parquet tables that carry the version of their format, and small archives of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskct_core.contracts.files import write_whole
from taskct_core.errors import DataError

FORMAT_KEY = b"taskct_format"  # in a Parquet file's metadata: the version of its format


def with_format(table: pa.Table, version: int, **metadata: str) -> pa.Table:
    """The table with its format version, and other texts by name, in its metadata."""
    texts = {name.encode(): text.encode() for name, text in metadata.items()}
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, FORMAT_KEY: str(version).encode(), **texts})


def write_table(path: Path, table: pa.Table, **options: Any) -> None:
    """Write a Parquet file whole; ``options`` are those of :func:`pyarrow.parquet.write_table`."""
    write_whole(path, lambda temporary: pq.write_table(table, temporary, **options))


def read_table(path: Path, version: int | None = None) -> pa.Table:
    """Read a Parquet file, of this format version if one is given.

    Raises:
        DataError: if the file is no Parquet or was written with another version.
    """
    try:
        with path.open("rb") as stream:
            table = pq.read_table(stream)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path.name} must be a readable Parquet file",
            f"{path}: {error}",
            "If the study is writing it now, try again; otherwise export the results again.",
        ) from None
    found = (table.schema.metadata or {}).get(FORMAT_KEY)
    if version is not None and found != str(version).encode():
        shown = "no version at all" if found is None else f"version {found.decode(errors='replace')}"
        raise DataError(
            f"{path.name} must have results format version {version}",
            shown,
            "Export the study again with this version of taskct (re-run `taskct study run`, which continues it), "
            "or read it with the version that wrote it.",
        )
    return table


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed ``.npz`` file whole."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    write_whole(path, write)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an ``.npz`` file; objects in it are refused, for they could run code.

    Raises:
        DataError: if it is damaged or no such file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise DataError(
            f"{path.name} must be a readable NumPy archive", f"{path}: {error}", "Export it again."
        ) from None
