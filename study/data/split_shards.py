"""The shards of one split as one sequence of samples, of which any can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.data.batches import Columns
from study.data.dataset import DatasetCard
from study.data.epoch_order import EpochOrder, Places
from study.data.samples import Samples
from study.data.shards import concurrently, read_column, read_rows, samples_a_fragment

_FRAGMENTS_A_PIECE = 8  # what is handed on at a time


@dataclass(frozen=True)
class SplitShards:
    """A split's shards, by patient and slice.

    Attributes:
        paths: of the shards.
        rows: of each.
        order: in which epochs take the samples.
        columns: of a stored sample; None: all that there are.
    """

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    order: EpochOrder
    columns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, card: DatasetCard, folder: Path, split: str) -> SplitShards:
        """The shards of a dataset's split, which must have some."""
        shards = sorted(card.shards[split], key=lambda shard: (shard.patient, shard.path))
        paths = tuple((folder / shard.path).resolve() for shard in shards)
        samples: dict[str, int] = {}
        for shard in shards:
            samples[shard.patient] = samples.get(shard.patient, 0) + shard.rows
        height, width = card.image_shape
        order = EpochOrder(tuple(samples.values()), height * width)
        # Bases are fresh samples' alone.
        columns = tuple(card.sample_columns) if card.has_bases else None
        return cls(paths, tuple(shard.rows for shard in shards), order, columns)

    def read(
        self, places: Places, columns: Sequence[str] | None, count: int | None = None
    ) -> Iterator[Columns]:
        """The samples of these places, in this order, so many at a time (None: some); each is read once.

        Raises:
            DataError: if a shard is missing or damaged.
        """
        wanted = np.unique(places)
        ends = np.cumsum(self.rows)
        shard_of = np.searchsorted(ends, wanted, side="right")
        tables: list[Columns] = []
        where: list[tuple[int, int]] = []
        for number in np.unique(shard_of):
            rows = wanted[shard_of == number] - (ends[number] - self.rows[number])
            for table, taken in read_rows(self.paths[number], rows, columns):
                where += [(len(tables), int(row)) for row in taken]
                tables.append(table)
        samples = Samples(tables, where)
        indices = np.searchsorted(wanted, places)
        size = count or samples_a_fragment(self.order.pixels) * _FRAGMENTS_A_PIECE
        for start in range(0, len(indices), size):
            yield samples.take(indices[start : start + size])

    def column(self, name: str) -> NDArray[Any]:
        """One number of every sample.

        Raises:
            DataError: if a shard is missing or damaged.
        """
        return np.concatenate(concurrently(lambda path: read_column(path, name), self.paths))
