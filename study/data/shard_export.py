"""Shards for readers that know no tensor columns, such as Hugging Face's ``datasets``: images as nested lists.

taskct shards export runs/NAME/data plain
datasets.load_dataset("parquet", data_files={"train": "plain/train/*.parquet"})
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.dataset import DatasetCard
from study.data.shards import read_batches
from taskct_core.contracts.files import write_whole
from taskct_core.errors import ConfigError

_ROWS_AT_ONCE = 32


def export_shards(card: DatasetCard, dataset: Path, out: Path) -> Iterator[Path]:
    """Write every shard again as ``out/SPLIT/SHARD.parquet``, yielding each as it is written.

    Tensor columns become lists of rows, ``list<list<float>>``; all else stays.

    Raises:
        ConfigError: if the folder is the dataset's own.
        DataError: if a shard is damaged.
    """
    if out.absolute() == dataset.absolute():
        raise ConfigError("shards are exported to another folder", str(out), "Name a new one.")
    for split, shards in card.shards.items():
        for shard in shards:
            target = out / split / Path(shard.path).name
            _write_plain(dataset / shard.path, target)
            yield target


def _write_plain(source: Path, target: Path) -> None:
    def write(temporary: Path) -> None:
        writer: pq.ParquetWriter | None = None
        for batch in read_batches(source, _ROWS_AT_ONCE):
            table = _plain(batch)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None  # a shard has rows
        writer.close()

    write_whole(target, write)


def _plain(table: pa.Table) -> pa.Table:
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        columns[name] = _nested(column) if isinstance(column.type, pa.FixedShapeTensorType) else column
    return pa.table(columns)


def _nested(column: pa.ExtensionArray) -> pa.Array:
    """Fixed-shape tensors -> lists of lists, the last axis innermost."""
    shape = column.type.shape
    nested = column.storage.flatten()
    for size in reversed(shape):
        nested = pa.ListArray.from_arrays(pa.array(range(0, len(nested) + 1, size), pa.int32()), nested)
    return nested
