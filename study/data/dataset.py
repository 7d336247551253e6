"""The dataset folder: Parquet shards a split, and ``dataset.json`` that says what they are.

    dataset.json                     DatasetCard
    train/PATIENT-00000.parquet      at most rows_per_shard samples of one patient
    validation/..., test/...

Columns and their units stand in ``taskct_core.schema``. Tensor columns are Arrow's canonical
fixed-shape tensors, so plain pyarrow, pandas and polars open a shard without this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskct_core import schema
from taskct_core.config import StrictModel
from taskct_core.contracts.files import write_whole
from taskct_core.contracts.tables import require_plain
from taskct_core.errors import DataError

SIMULATION_KEY = b"taskct_simulation"  # Parquet metadata: hash of what the shard was made from
_FORMAT_KEY = b"taskct_format"
_READERS = 8  # files of a dataset that are read at a time
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


class ShardEntry(StrictModel):
    """One shard file as ``dataset.json`` lists it."""

    path: str  # relative to the dataset folder
    patient: str
    rows: int
    sha256: str


class DatasetCard(StrictModel):
    """``dataset.json``: everything needed to read the shards, and to make them again."""

    format_version: int = schema.DATASET_FORMAT_VERSION
    geometry: dict[str, Any]  # ParallelBeam.to_dict()
    simulation: dict[str, Any]  # SimulationConfig
    source: dict[str, Any]  # DataConfig
    patients: dict[str, list[str]]  # split -> patients
    counts: dict[str, dict[str, int]]  # split -> samples, with_liver, with_tumour
    image_shape: tuple[int, int]
    has_sinogram: bool
    has_bases: bool = (
        False  # whether train shards hold schema.BASE_COLUMNS, which fresh samples are drawn from
    )
    field_of_view_mm: float | None = None  # edge that all patients share; None: each has its own
    warnings: list[str] = []
    shards: dict[str, list[ShardEntry]]  # split -> shards
    data_hash: str  # of all shards' bytes
    versions: dict[str, str]

    @property
    def sample_columns(self) -> list[str]:
        """The columns of a stored sample, which all splits have."""
        optional = {schema.SINOGRAM} if not self.has_sinogram else set()
        return [
            name for name in (*_TENSOR_TYPES, *_SCALAR_TYPES) if name not in {*schema.BASE_COLUMNS, *optional}
        ]

    def shard_paths(self, folder: Path, split: str) -> list[Path]:
        """Absolute paths of a split's shards, in order."""
        return [(folder / shard.path).resolve() for shard in self.shards[split]]

    def size_bytes(self, folder: Path) -> int:
        """What all splits take as Arrow tables in memory."""
        paths = [path for split in self.shards for path in self.shard_paths(folder, split)]
        return sum(_concurrently(_size_bytes, paths))


def _size_bytes(path: Path) -> int:
    with path.open("rb") as file:
        metadata = pq.read_metadata(file)
    return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))


def _concurrently(read: Callable[[Path], Any], paths: list[Path]) -> list[Any]:
    """``read`` of every file, in order; a remote storage answers many requests in the time of one."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, paths))


def hash_of(shards: Mapping[str, list[ShardEntry]]) -> str:
    """The content hash of a dataset: of its shards' names and bytes, whatever order they were written in."""
    lines = sorted(f"{shard.path} {shard.sha256}" for entries in shards.values() for shard in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def to_table(samples: Mapping[str, NDArray[Any]], simulation_hash: str) -> pa.Table:
    """Samples as arrays (first axis = sample) -> an Arrow table with the contract's types."""
    columns: dict[str, pa.Array] = {}
    for name, values in samples.items():
        if name in _TENSOR_TYPES:
            columns[name] = _tensor_array(np.ascontiguousarray(values), _TENSOR_TYPES[name])
        else:
            columns[name] = pa.array(list(values), type=_SCALAR_TYPES[name])
    metadata = {
        _FORMAT_KEY: str(schema.DATASET_FORMAT_VERSION).encode(),
        SIMULATION_KEY: simulation_hash.encode(),
    }
    return pa.table(columns).replace_schema_metadata(metadata)


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


def write_shard(path: Path, table: pa.Table) -> str:
    """Write one shard whole or not at all, and return the SHA-256 of its bytes.

    No dictionary encoding: it makes tensors half as large again.
    """

    def write(temporary: Path) -> None:
        pq.write_table(table, temporary, use_dictionary=False, compression="zstd", row_group_size=32)

    write_whole(path, write)
    return file_hash(path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(folder: Path, card: DatasetCard) -> None:
    """Write ``dataset.json``; it is written last, so that a folder without it is an unfinished dataset."""
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    write_whole(folder / schema.DATASET_FILE, lambda temporary: temporary.write_text(text))


def load_card(folder: Path) -> DatasetCard:
    """Read and check ``dataset.json``.

    Raises:
        DataError: if the folder is no finished dataset, or of another format version.
    """
    path = folder / schema.DATASET_FILE
    if not path.is_file():
        raise DataError(
            f"a dataset folder must hold {schema.DATASET_FILE}",
            f"{folder}, which has none",
            "Make it with `taskct simulate CONFIG`; an interrupted simulation continues with the same command.",
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            "dataset.json must be JSON", f"{path}: {error}", "Simulate the dataset again."
        ) from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != schema.DATASET_FORMAT_VERSION:
        raise DataError(
            f"shards must have format version {schema.DATASET_FORMAT_VERSION}",
            f"version {version} in {path}",
            "Simulate the dataset again with this version of taskct.",
        )
    return DatasetCard.parse(values)


def verify_shards(folder: Path, card: DatasetCard) -> None:
    """Check that every shard is there, whole, and the one that was written, and holds plain values.

    Raises:
        DataError: naming the first shard that is missing or changed, or may hold code.
    """
    shards = [shard for entries in card.shards.values() for shard in entries]
    paths = [folder / shard.path for shard in shards]
    for path, shard, found in zip(paths, shards, _concurrently(_hash_or_none, paths), strict=True):
        if found is None:
            _raise_bad_shard(path, "no such file")
        if found != shard.sha256:
            _raise_bad_shard(path, "other bytes than dataset.json records")
    for path, columns in zip(paths, _concurrently(_columns, paths), strict=True):
        require_plain(columns, path)


def _columns(path: Path) -> pa.Schema:
    with path.open("rb") as file:
        return pq.read_schema(file)


def _hash_or_none(path: Path) -> str | None:
    return file_hash(path) if path.is_file() else None


def _raise_bad_shard(path: Path, received: str) -> None:
    raise DataError(
        "every shard listed in dataset.json must be there unchanged",
        f"{path}: {received}",
        "Delete the file if it exists and run `taskct simulate` again: only what is missing is redone.",
    )
