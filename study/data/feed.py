"""Batches of a dataset split for a training loop: from memory where it fits, streamed where it does not.

All kinds give the same batches, in an order that follows from (seed, epoch) alone, so a training loop does not know
which one feeds it, and its results depend neither on that nor on how a trial is executed:

- ``MemoryFeed``: Ray Data has read the split once into the object store; every trial on a node maps the same memory.
- ``StreamFeed``: Ray Data streams the shards from disk, a window of many patients at a time, and draws fresh samples
  of the train split where an experiment asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from study.cluster.nodes import alive_nodes
from study.data.batches import Share, to_batch
from study.data.dataset import DatasetCard
from study.data.epoch_order import EpochOrder, Visits, samples_a_patient
from study.data.fresh_samples import FreshSamples
from study.data.samples import Samples
from study.data.shards import from_table, shard_errors, stream_shards
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from taskct_core import schema
from taskct_core.contracts.rows import Batch


class Feed(Protocol):
    """Where a training loop gets one split's batches from.

    ``more`` is how many passes will follow, of the next epochs where they are shuffled: a stream goes on to each while
    the last batches of the one before are still used.
    """

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """One epoch in random order. All workers get the same number of batches, of the same sizes."""

    def ordered(
        self,
        batch_size: int,
        *,
        share: Share,
        more: int = 0,
    ) -> Iterator[Batch]:
        """Every sample once, by one of the workers; one that has no share gets no batch."""


class TableFeed:
    """A split that lies in memory as Arrow tables of samples."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        columns = [from_table(table) for table in tables if table.num_rows]
        self._samples = Samples.sorted(columns)
        patients = np.concatenate([part[schema.PATIENT] for part in columns])
        self._order = EpochOrder(samples_a_patient(patients), columns[0][schema.FULL_DOSE][0].size)

    def shuffled(
        self,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        share: Share,
        more: int = 0,  # noqa: ARG002  nothing is read ahead from memory
    ) -> Iterator[Batch]:
        """One epoch in the order that a stream of the same samples has; see ``Feed``."""
        yield from self._batches(self._order.shuffled(seed, epoch, share), batch_size)

    def ordered(
        self,
        batch_size: int,
        *,
        share: Share,
        more: int = 0,  # noqa: ARG002  nothing is read ahead from memory
    ) -> Iterator[Batch]:
        """Every sample once, by patient and slice."""
        yield from self._batches(self._order.ordered(share), batch_size)

    def _batches(self, windows: Sequence[Visits], batch_size: int) -> Iterator[Batch]:
        places = np.concatenate([*windows, np.empty((0, 2), int)])[:, 0]
        for start in range(0, len(places), batch_size):
            yield to_batch(self._samples.take(places[start : start + batch_size]))


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
        return self._open().shuffled(batch_size, seed=seed, epoch=epoch, share=share, more=more)

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """See ``TableFeed``."""
        return self._open().ordered(batch_size, share=share, more=more)

    def _open(self) -> TableFeed:
        if self._tables is None:
            import ray

            self._tables = TableFeed(ray.get(self._blocks))
        return self._tables


def open_feeds(
    card: DatasetCard, folder: Path, data_path: str = "auto", fresh: FreshSamples | None = None
) -> dict[str, Feed]:
    """The feeds of all splits that hold samples.

    Args:
        card: of the dataset in ``folder``.
        folder: the dataset's.
        data_path: ``memory``, ``stream``, or ``auto``: memory if all splits take at most half of the object store of
            the node with the smallest, since every node that trains holds all of them.
        fresh: how training samples are drawn anew in every epoch; None: the stored ones are used.
    """
    if data_path == "auto":
        fits = card.size_bytes <= smallest_object_store(alive_nodes()) / 2
        data_path = "memory" if fits else "stream"
    splits = [split for split in schema.SPLITS if card.shards[split]]
    feeds: dict[str, Feed] = {}
    for split in splits:
        if fresh is not None and split == "train":
            feeds[split] = StreamFeed(SplitShards.of(card, folder, split), fresh)
        elif data_path == "memory":
            feeds[split] = _read_into_memory(card, folder, split)
        else:
            feeds[split] = StreamFeed(SplitShards.of(card, folder, split))
    return feeds


def smallest_object_store(nodes: Sequence[dict[str, Any]]) -> float:
    """Bytes of the smallest object store among the nodes that have CPUs, which a trial may be placed on."""
    resources = [node["Resources"] for node in nodes if node["Resources"].get("CPU")]
    return min((node.get("object_store_memory", 0.0) for node in resources), default=0.0)


def _read_into_memory(card: DatasetCard, folder: Path, split: str) -> MemoryFeed:
    columns = card.sample_columns if card.has_bases else None  # bases are fresh samples' alone
    with shard_errors(f"{folder}, {split}"):
        dataset = stream_shards(card.shard_paths(folder, split), columns).materialize()
    return MemoryFeed([ref for bundle in dataset.iter_internal_ref_bundles() for ref in bundle.block_refs])
