"""Parquet files from anywhere: plain ones are read, damaged ones are told, those that hold pickles run nothing."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # registers Ray's column types, as any process that reads a dataset has

import analysis
from study.data.dataset import load_card, verify_shards, write_card
from study.data.shards import file_hash
from taskct_core import schema
from taskct_core.contracts.tables import read_table
from taskct_core.errors import DataError


class _Attack:
    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._trace),)


def _pickled(trace: Path, rows: int, nested: bool = False) -> tuple[pa.Field, pa.Array]:
    """A column whose values Ray Data unpickles where they are read."""
    values = pa.array([pickle.dumps(_Attack(trace))] * rows, pa.large_binary())
    name = {b"ARROW:extension:name": b"ray.data.arrow_pickled_object", b"ARROW:extension:metadata": b""}
    field = pa.field("note", pa.large_binary(), metadata=name)
    if not nested:
        return field, values
    return pa.field("notes", pa.struct([field])), pa.StructArray.from_arrays([values], fields=[field])


def _add(table: pa.Table, path: Path, column: tuple[pa.Field, pa.Array]) -> None:
    pq.write_table(table.append_column(*column), path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_table_with_pickles_is_refused(nested: bool, tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    _add(pa.table({"trial": [1, 2]}), path, _pickled(tmp_path / "trace", 2, nested))
    assert ray.data is not None
    with pytest.raises(DataError, match=r"must be numbers, texts.*note"):
        read_table(path)
    assert not (tmp_path / "trace").exists()


def test_a_report_on_a_table_with_pickles_is_refused(tmp_path: Path) -> None:
    table = pa.table({schema.TRIAL: [0]}).replace_schema_metadata({b"taskct_format": b"1"})
    _add(table, tmp_path / "results.parquet", _pickled(tmp_path / "trace", 1))
    with pytest.raises(DataError, match="must be numbers"):
        analysis.load(str(tmp_path))
    assert not (tmp_path / "trace").exists()


def test_a_shard_with_pickles_is_refused_before_ray_reads_it(small: Any, tmp_path: Path) -> None:
    """Its hash is right: who makes a dataset writes its dataset.json, too."""
    folder = shutil.copytree(small.workspace.dataset, tmp_path / "data")
    card = load_card(folder)
    shard = card.shards["test"][0]
    table = pq.read_table(folder / shard.path)
    _add(table, folder / shard.path, _pickled(tmp_path / "trace", len(table)))
    changed = shard.model_copy(update={"sha256": file_hash(folder / shard.path)})
    write_card(folder, card.model_copy(update={"shards": card.shards | {"test": [changed]}}))
    with pytest.raises(DataError, match="must be numbers"):
        verify_shards(folder, load_card(folder))
    assert not (tmp_path / "trace").exists()


def test_plain_tables_and_tensors_are_read(tmp_path: Path) -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((2, 3, 3), np.float32))
    table = pa.table({"a": [1.5, None], "b": ["x", "y"], "c": [[1], [2, 3]], "image": tensors})
    pq.write_table(table, tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet").equals(table)


@pytest.mark.parametrize("keep", [0, 3, 0.5, -4])
def test_a_damaged_table_is_one_message(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"trial": list(range(100))}), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"samples.parquet must be a readable Parquet file.*Score again\."):
        read_table(path, next_step="Score again.")
