"""Shards: samples as Parquet files that plain pyarrow, pandas and polars open without this package.

Columns and their units stand in ``taskct_core.schema``. Tensor columns are Arrow's canonical fixed-shape tensors.
Pages carry checksums, and every reader of ours verifies them: Parquet's compression does not notice a changed bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskct_core import schema
from taskct_core.contracts.files import arrow_source, write_whole
from taskct_core.contracts.tables import with_format
from taskct_core.errors import DataError, first_line

if TYPE_CHECKING:  # Ray Data takes seconds to import
    from ray.data import Dataset

REPAIR = "Run `taskct simulate CONFIG` again: it makes what is missing or damaged, and keeps the rest."
_SIMULATION_KEY = "taskct_simulation"  # Parquet metadata: hash of what the shard was made from
_ROWS_AT_ONCE = 32  # where a shard is only read to see whether it can be
_FRAGMENT_PIXELS = 300_000  # of its images; a sample takes 9 to 25 bytes a pixel, all its arrays counted
_READERS = 8  # files that are read at a time
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_TENSOR_TYPES = {
    schema.FULL_DOSE: pa.float32(),
    schema.FBP: pa.float32(),
    schema.SINOGRAM: pa.float32(),
    schema.LABELS: pa.uint8(),
    schema.BASE_HU: pa.int16(),
    schema.BASE_LABELS: pa.uint8(),
}
_SCALAR_TYPES = {
    schema.PATIENT: pa.string(),
    schema.SLICE_INDEX: pa.int32(),
    schema.PHOTONS_PER_RAY: pa.float32(),
    schema.PIXEL_SPACING_MM: pa.float32(),
    schema.BODY_HEIGHT_MM: pa.float32(),
    schema.BODY_WIDTH_MM: pa.float32(),
    schema.TUMOUR_PIXELS: pa.int32(),
}
SAMPLE_COLUMNS = (*_TENSOR_TYPES, *_SCALAR_TYPES)


def to_table(samples: Mapping[str, NDArray[Any]], simulation_hash: str) -> pa.Table:
    """Samples as arrays (first axis = sample) -> an Arrow table with the contract's types."""
    columns: dict[str, pa.Array] = {}
    for name, values in samples.items():
        if name in _TENSOR_TYPES:
            columns[name] = _tensor_array(np.ascontiguousarray(values), _TENSOR_TYPES[name])
        else:
            columns[name] = pa.array(list(values), type=_SCALAR_TYPES[name])
    return with_format(pa.table(columns), schema.DATASET_FORMAT_VERSION, **{_SIMULATION_KEY: simulation_hash})


def _tensor_array(values: NDArray[Any], value_type: pa.DataType) -> pa.Array:
    shape = values.shape[1:]
    flat = pa.array(values.reshape(-1), type=value_type)
    storage = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(value_type, shape), storage)


def from_table(table: pa.Table) -> dict[str, NDArray[Any]]:
    """The inverse of ``to_table``: columns -> arrays, tensors without a copy where the table is one chunk."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no rows: nothing to combine
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if isinstance(column, pa.FixedShapeTensorArray):
            arrays[name] = column.to_numpy_ndarray()
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    return arrays


def samples_a_fragment(pixels: int) -> int:
    """Samples that are stored and read together, if an image has so many pixels: a row group of a shard."""
    return max(1, _FRAGMENT_PIXELS // pixels)


def write_shard(path: Path, table: pa.Table) -> str:
    """Write one shard whole or not at all, and return the SHA-256 of its bytes.

    No dictionary encoding: it makes tensors half as large again.
    """
    height, width = table.schema.field(schema.FULL_DOSE).type.shape

    def write(temporary: Path) -> None:
        pq.write_table(
            table,
            temporary,
            use_dictionary=False,
            compression="zstd",
            row_group_size=samples_a_fragment(height * width),
            write_page_checksum=True,
        )

    write_whole(path, write)
    return file_hash(path)


def read_shard(path: Path) -> pa.Table:
    """All samples of a shard.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with shard_errors(str(path)), path.open("rb") as file:
        return pq.read_table(file, page_checksum_verification=True)


def read_batches(path: Path, batch_size: int) -> Iterator[pa.Table]:
    """A shard's samples, some at a time.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with shard_errors(str(path)), path.open("rb") as file:
        shard = pq.ParquetFile(file, page_checksum_verification=True)
        for rows in shard.iter_batches(batch_size=batch_size):
            yield pa.Table.from_batches([rows])


def read_column(path: Path, name: str) -> NDArray[Any]:
    """One column of numbers of a shard.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with shard_errors(str(path)), path.open("rb") as file:
        table = pq.read_table(file, columns=[name], page_checksum_verification=True)
    return from_table(table)[name]


def read_rows(
    path: Path, rows: NDArray[np.integer], columns: Sequence[str] | None = None
) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[np.integer]]]:
    """The row groups that hold some of a shard's rows, one after another, and which of their rows those are.

    Args:
        path: of the shard.
        rows: ascending.
        columns: that are read; None for all.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with shard_errors(str(path)), path.open("rb") as file:
        shard = pq.ParquetFile(file, page_checksum_verification=True)
        sizes = [shard.metadata.row_group(number).num_rows for number in range(shard.num_row_groups)]
        ends = np.cumsum(sizes)
        group_of = np.searchsorted(ends, rows, side="right")
        for number in np.unique(group_of):
            group = from_table(shard.read_row_group(int(number), columns))
            yield group, rows[group_of == number] - (ends[number] - sizes[number])


def stream_shards(paths: list[Path], columns: list[str] | None = None) -> Dataset:
    """The shards' columns (None: all) as a ``ray.data.Dataset``, whose readers verify the checksums."""
    import ray.data
    from pyarrow.dataset import ParquetFragmentScanOptions

    # The second version of Ray Data's reader drops the scan's options, and takes longer to its first batch.
    ray.data.DataContext.get_current().use_datasource_v2 = False
    names, filesystem = arrow_source(paths)
    return ray.data.read_parquet(
        names,
        filesystem=filesystem,
        columns=columns,
        partitioning=None,  # a folder named a=b is a folder, and no column
        fragment_scan_options=ParquetFragmentScanOptions(page_checksum_verification=True),
    )


@contextmanager
def shard_errors(where: str) -> Iterator[None]:
    """Turn what Arrow raises over damaged shards, also through Ray Data, into a DataError."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            "shards must be there and undamaged", f"{where} ({first_line(error)})", REPAIR
        ) from None


def shard_columns(path: Path) -> pa.Schema:
    """The columns of a shard, which may be of any types.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with shard_errors(str(path)), path.open("rb") as file:
        return pq.read_schema(file)


def is_whole_shard(path: Path, simulation_hash: str) -> bool:
    """Whether a shard is there, was made from these settings, and can be read to its end."""
    try:
        metadata = shard_columns(path).metadata or {}
        if metadata.get(_SIMULATION_KEY.encode()) != simulation_hash.encode():
            return False
        for _ in read_batches(path, _ROWS_AT_ONCE):
            pass
    except DataError:
        return False
    return True


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_or_none(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it is missing or cannot be read."""
    try:
        return file_hash(path) if path.is_file() else None
    except OSError:  # a sector of the disk, say: it is lost like a missing one
        return None


def concurrently(read: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """``read`` of every item, in order; a remote storage answers many requests in the time of one."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, items))
