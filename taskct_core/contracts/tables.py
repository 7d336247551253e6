"""Parquet tables that carry the version of their format, and small archives of arrays.

Either may come from anywhere, so what could run code is refused: pickles in an archive, and columns of a library's own
types, of which one of Ray Data's holds pickles.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskct_core.contracts.files import write_whole
from taskct_core.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

FORMAT_KEY = b"taskct_format"  # in a Parquet file's metadata: the version of its format


def with_format(table: pa.Table, version: int, **metadata: str) -> pa.Table:
    """The table with its format version, and other texts by name, in its metadata."""
    texts = {name.encode(): text.encode() for name, text in metadata.items()}
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, FORMAT_KEY: str(version).encode(), **texts})


def write_table(path: Path, table: pa.Table, **options: Any) -> None:
    """Write a Parquet file whole, its pages with checksums.

    ``options`` are those of :func:`pyarrow.parquet.write_table`.
    """
    options = {"write_page_checksum": True} | options
    write_whole(path, lambda temporary: pq.write_table(table, temporary, **options))


_EXPORT_AGAIN = "If the study is writing it now, try again; otherwise export the results again."


def read_table(path: Path, version: int | None = None, next_step: str = _EXPORT_AGAIN) -> pa.Table:
    """Read a Parquet file, of this format version if one is given.

    Args:
        path: of the file, local or remote.
        version: of its format.
        next_step: what the user can do where it cannot be read.

    Raises:
        DataError: if the file is no whole Parquet, was written with another version, or has a column that is not
            plain.
    """
    try:
        with path.open("rb") as stream:
            table = pq.read_table(stream, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path.name} must be a readable Parquet file",
            f"{path} ({first_line(error)})",
            next_step,
        ) from None
    require_plain(table.schema, path)
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


def read_frame(path: Path, version: int | None = None, next_step: str = _EXPORT_AGAIN) -> pd.DataFrame:
    """As :func:`read_table`, for pandas; what pandas noted of itself in the file is disregarded."""
    table = read_table(path, version, next_step)
    try:
        return table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, ValueError, OverflowError) as error:  # a date that there is not, say
        raise DataError(
            f"{path.name} must hold plain values", f"{path} ({first_line(error)})", next_step
        ) from None


def require_plain(schema: pa.Schema, path: Path) -> None:
    """Refuse columns other than numbers, texts, lists and records of them, and tensors.

    Raises:
        DataError: naming the columns.
    """
    special = [f"{field.name}: {field.type}" for field in schema if not _is_plain(field.type)]
    if special:
        raise DataError(
            "a table's columns must be numbers, texts, lists of them, or tensors",
            f"{path} ({', '.join(special)})",
            "Do not open this file with other tools either: it may hold code. Ask whoever made it.",
        )


def _is_plain(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return isinstance(kind, pa.FixedShapeTensorType)
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return all(_is_plain(kind.field(number).type) for number in range(kind.num_fields))


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write a compressed ``.npz`` file whole."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    write_whole(path, write)


_UNREADABLE = (
    *(ValueError, OSError, EOFError, LookupError, SyntaxError, MemoryError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an ``.npz`` file; objects in it are refused, for they could run code.

    Raises:
        DataError: if it is damaged or no such file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except _UNREADABLE as error:
        raise DataError(
            f"{path.name} must be a readable NumPy archive", f"{path}: {error}", "Export it again."
        ) from None
