"""Shuffles a stream of samples within a buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from study.data.batches import Columns


def shuffled(
    stream: Iterator[Columns],
    batch_size: int,
    *,
    capacity: int,
    random: np.random.Generator,
    drained: Callable[[], None],
) -> Iterator[Columns]:
    """Batches of samples drawn at random from the last ``capacity`` of the stream; each sample once.

    Args:
        stream: columns whose first axis is the sample.
        batch_size: samples a batch; the last may have fewer.
        capacity: samples that the buffer holds before the first batch is given.
        random: decides the order.
        drained: called when the stream has ended, while the buffer is still full.
    """
    buffer: list[Columns] = []
    for columns in stream:
        buffer += _samples(columns)
        while len(buffer) >= max(capacity, batch_size):
            yield _take(buffer, batch_size, random)
    drained()
    while buffer:
        yield _take(buffer, min(batch_size, len(buffer)), random)


def _samples(columns: Columns) -> list[Columns]:
    """Copies, since a view would hold the whole block that the stream read."""
    count = len(next(iter(columns.values())))
    return [{name: np.array(values[row]) for name, values in columns.items()} for row in range(count)]


def _take(buffer: list[Columns], count: int, random: np.random.Generator) -> Columns:
    taken = []
    for _ in range(count):
        chosen = int(random.integers(len(buffer)))
        buffer[chosen], buffer[-1] = buffer[-1], buffer[chosen]
        taken.append(buffer.pop())
    return {name: np.stack([sample[name] for sample in taken]) for name in taken[0]}
