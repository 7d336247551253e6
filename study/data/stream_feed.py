"""Batches that Ray Data streams from shards; the next pass begins before this one is used up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.data.batches import Share, to_batch
from study.data.read_ahead import ReadAhead
from study.data.shuffle_buffer import shuffled
from taskct_core.contracts.rows import Batch

_SHUFFLE_BUFFER_BATCHES = 32


class StreamFeed:
    """A split that Ray Data streams from its shards.

    Args:
        dataset: a ``ray.data.Dataset``, or the iterator that Ray Train hands a worker as its share of one.
        is_share: whether ``dataset`` holds this worker's samples only.
    """

    def __init__(self, dataset: Any, is_share: bool = False) -> None:
        self.dataset = dataset
        self.is_share = is_share
        self._begun: tuple[_Pass, ReadAhead] | None = None

    def __reduce__(self) -> tuple[type[StreamFeed], tuple[Any, bool]]:
        return StreamFeed, (self.dataset, self.is_share)

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """One epoch, shuffled within a buffer of some batches; see ``Feed``."""
        return self._batches(_Pass(batch_size, more, (seed, epoch)), share)

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """Every sample once."""
        return self._batches(_Pass(batch_size, more), share)

    def _batches(self, this: _Pass, share: Share) -> Iterator[Batch]:
        if share.world_size > 1 and not self.is_share:
            raise ValueError("a stream for several workers must come from Ray Train's split")
        with closing(self._claim(this)) as batches:
            yield from batches
            if batches.next_pass is not None:
                self._begun = this.next(), batches.next_pass

    def _claim(self, this: _Pass) -> ReadAhead:
        begun, self._begun = self._begun, None
        if begun is not None:
            if begun[0] == this:
                return begun[1]
            begun[1].close()
        return _start(self.dataset, this)


@dataclass(frozen=True)
class _Pass:
    """One pass over a stream, and how many more will follow."""

    batch_size: int
    more: int
    seed_and_epoch: tuple[int, int] | None = None

    def next(self) -> _Pass:
        """The pass after this one."""
        following = self.seed_and_epoch and (self.seed_and_epoch[0], self.seed_and_epoch[1] + 1)
        return _Pass(self.batch_size, self.more - 1, following)


def _start(dataset: Any, this: _Pass) -> ReadAhead:
    """Begin a pass in a thread; it begins the next one itself."""

    def open_pass(drained: Callable[[], None]) -> Iterator[Batch]:
        stream = iter(dataset.iter_batches(batch_size=this.batch_size, batch_format="numpy"))
        if this.seed_and_epoch is None:
            yield from map(to_batch, stream)
            drained()
        else:
            capacity = this.batch_size * _SHUFFLE_BUFFER_BATCHES
            random = np.random.default_rng(this.seed_and_epoch)
            batches = shuffled(stream, this.batch_size, capacity=capacity, random=random, drained=drained)
            yield from map(to_batch, batches)

    return ReadAhead(open_pass, (lambda: _start(dataset, this.next())) if this.more > 0 else None)
