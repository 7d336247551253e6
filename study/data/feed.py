"""Batches of a dataset split for a training loop: from memory where it fits, streamed where it does not.

Both kinds give the same interface, so a training loop does not know which one feeds it:

- ``MemoryFeed``: Ray Data has read the split once into the object store; every trial on a node maps the
  same memory. The order of samples follows from (seed, epoch) alone, so results do not depend on how a
  trial is executed.
- ``StreamFeed``: Ray Data streams the shards from disk, shuffling within a buffer, epoch after epoch. The next
  pass starts while this one is still used, since the start of a stream takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from study.data.batches import Share, to_batch
from study.data.dataset import DatasetCard
from study.data.shards import from_table, shard_errors, stream_shards
from study.data.stream_feed import StreamFeed
from taskct_core import schema
from taskct_core.contracts.rows import Batch


class Feed(Protocol):
    """Where a training loop gets one split's batches from.

    ``more`` is how many passes will follow, of the next epochs where they are shuffled: a stream begins each while the
    last batches of the one before are still used.
    """

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """One epoch in random order. All workers get the same number of batches."""

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """Every sample once."""


class TableFeed:
    """A split that lies in memory as Arrow tables of samples."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._samples = _Samples([from_table(table) for table in tables])

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """One epoch in an order that follows from ``seed`` and ``epoch``; see ``Feed``."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self._samples))
        # Repeat the first samples so that every worker takes the same number of steps.
        order = np.resize(order, -(-len(order) // share.world_size) * share.world_size)
        yield from self._samples.batches(order[share.rank :: share.world_size], batch_size)

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """Every sample once, by patient and slice."""
        order = np.arange(share.rank, len(self._samples), share.world_size)
        yield from self._samples.batches(order, batch_size)


class MemoryFeed:
    """A ``TableFeed`` whose tables lie in Ray's object store: all processes of a node map the same memory.

    Args:
        blocks: references to the tables. Only they travel when the feed is sent to another process.
    """

    def __init__(self, blocks: list[Any]) -> None:
        self._blocks = blocks
        self._tables: TableFeed | None = None

    def __reduce__(self) -> tuple[type[MemoryFeed], tuple[list[Any]]]:
        return MemoryFeed, (self._blocks,)

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """See ``TableFeed``."""
        return self._open().shuffled(batch_size, seed=seed, epoch=epoch, share=share)

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """See ``TableFeed``."""
        return self._open().ordered(batch_size, share=share)

    def _open(self) -> TableFeed:
        if self._tables is None:
            import ray

            self._tables = TableFeed(ray.get(self._blocks))
        return self._tables


class _Samples:
    """Rows of several tables as one sequence, sorted by patient and slice; tensors stay where they are."""

    def __init__(self, tables: list[dict[str, NDArray[Any]]]) -> None:
        self._tables = tables
        rows = [
            (str(table[schema.PATIENT][row]), int(table[schema.SLICE_INDEX][row]), number, row)
            for number, table in enumerate(tables)
            for row in range(len(table[schema.PATIENT]))
        ]
        self._where = [(number, row) for _, _, number, row in sorted(rows)]

    def __len__(self) -> int:
        return len(self._where)

    def batches(self, order: NDArray[np.integer], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(order), batch_size):
            where = [self._where[index] for index in order[start : start + batch_size]]
            columns = self._tables[where[0][0]].keys()
            yield to_batch({name: np.stack([self._tables[t][name][r] for t, r in where]) for name in columns})


def open_feeds(card: DatasetCard, folder: Path, data_path: str = "auto") -> dict[str, Feed]:
    """The feeds of all splits that hold samples.

    Args:
        card: of the dataset in ``folder``.
        folder: the dataset's.
        data_path: ``memory``, ``stream``, or ``auto``: memory if all splits take at most half of the
            object store.
    """
    import ray

    if data_path == "auto":
        available = ray.cluster_resources().get("object_store_memory", 0.0)
        data_path = "memory" if card.size_bytes(folder) <= available / 2 else "stream"
    feeds: dict[str, Feed] = {}
    for split in schema.SPLITS:
        paths = card.shard_paths(folder, split)
        if not paths:
            continue
        columns = card.sample_columns if card.has_bases else None  # bases are fresh samples' alone
        dataset = stream_shards(paths, columns)
        if data_path == "memory":
            with shard_errors(f"{folder}, {split}"):
                materialized = dataset.materialize()
            blocks = [ref for bundle in materialized.iter_internal_ref_bundles() for ref in bundle.block_refs]
            feeds[split] = MemoryFeed(blocks)
        else:
            feeds[split] = StreamFeed(dataset)
    return feeds
