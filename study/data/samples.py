"""Rows of several tables as one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.data.batches import Columns
from taskct_core import schema


class Samples:
    """Samples that lie in several tables; their tensors stay where they are until they are taken.

    Args:
        tables: columns whose first axis is the sample.
        where: (number of the table, row in it) of each sample.
    """

    def __init__(self, tables: Sequence[Columns], where: Sequence[tuple[int, int]]) -> None:
        self._tables = tables
        self._where = where

    @classmethod
    def sorted(cls, tables: Sequence[Columns]) -> Samples:
        """All rows, by patient and slice."""
        rows = [
            (str(table[schema.PATIENT][row]), int(table[schema.SLICE_INDEX][row]), number, row)
            for number, table in enumerate(tables)
            for row in range(len(table[schema.PATIENT]))
        ]
        return cls(tables, [(number, row) for _, _, number, row in sorted(rows)])

    def __len__(self) -> int:
        return len(self._where)

    def take(self, indices: NDArray[np.integer]) -> Columns:
        """Copies of some samples, in the order asked for."""
        where = [self._where[index] for index in indices]
        return {name: self._stack(name, where) for name in self._tables[where[0][0]]}

    def _stack(self, name: str, where: Sequence[tuple[int, int]]) -> NDArray[Any]:
        return np.stack([self._tables[number][name][row] for number, row in where])
