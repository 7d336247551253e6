"""Batches of a split that does not lie in memory, one window of its order after another."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from study.data.batches import Columns, Share, to_batch
from study.data.epoch_order import EpochOrder, Visits
from study.data.fresh_samples import FreshSamples
from study.data.read_ahead import chained
from study.data.split_shards import SplitShards
from study.data.window_pipeline import Window, batches_of
from taskct_core.contracts.rows import Batch


class StreamFeed:
    """A split that Ray Data streams from its shards.

    Each worker has a stream of its own, which gives the samples that are its share and no others, so none is lost or
    given twice however many workers there are. What is read, and in which order, is decided before: see
    ``EpochOrder``. The next window is read while this one is used, be it of the next pass.

    Args:
        shards: of the split.
        fresh: how the samples of shuffled epochs are drawn anew; None: they are the stored ones.
    """

    def __init__(self, shards: SplitShards, fresh: FreshSamples | None = None) -> None:
        self._shards = shards
        self._fresh = fresh
        self._waiting: _Stream | None = None

    def __reduce__(self) -> tuple[type[StreamFeed], tuple[SplitShards, FreshSamples | None]]:
        return StreamFeed, (self._shards, self._fresh)

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, share: Share, more: int = 0
    ) -> Iterator[Batch]:
        """One epoch in an order that follows from ``seed`` and ``epoch``; see ``Feed``."""
        return self._batches(_Pass(batch_size, share, (seed, epoch), self._fresh), more)

    def ordered(self, batch_size: int, *, share: Share, more: int = 0) -> Iterator[Batch]:
        """Every sample once, by patient and slice."""
        return self._batches(_Pass(batch_size, share), more)

    def _batches(self, this: _Pass, more: int) -> Iterator[Batch]:
        samples = sum(map(len, this.visits(self._shards.order)))
        if not samples:
            return
        stream = self._claim(this, more)
        with ExitStack() as unless_whole:
            unless_whole.callback(stream.batches.close)
            for start in range(0, samples, this.batch_size):
                yield to_batch(_first(samples - start, next(stream.batches)))
            if stream.more:
                unless_whole.pop_all()
                self._waiting = _Stream(stream.batches, this.next(), stream.more - 1)

    def _claim(self, this: _Pass, more: int) -> _Stream:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if waiting.next_pass == this:
                return waiting
            waiting.batches.close()
        windows = (window for each in this.and_next(more) for window in each.windows(self._shards.order))
        opened = (partial(batches_of, window, self._shards, self._fresh) for window in windows)
        return _Stream(chained(opened), this, more)


@dataclass(frozen=True)
class _Pass:
    """One pass of a worker over a split."""

    batch_size: int
    share: Share
    seed_and_epoch: tuple[int, int] | None = None
    fresh: FreshSamples | None = None

    def next(self) -> _Pass:
        """The pass after this one."""
        if self.seed_and_epoch is None:
            return self
        return replace(self, seed_and_epoch=(self.seed_and_epoch[0], self.seed_and_epoch[1] + 1))

    def and_next(self, more: int) -> Iterator[_Pass]:
        """This pass and those after it."""
        this = self
        for _ in range(1 + more):
            yield this
            this = this.next()

    def visits(self, order: EpochOrder) -> list[Visits]:
        """What it takes, window by window."""
        if self.seed_and_epoch is None:
            return order.ordered(self.share)
        asked = self.fresh.visits(*self.seed_and_epoch) if self.fresh is not None else None
        return order.shuffled(*self.seed_and_epoch, self.share, asked)

    def windows(self, order: EpochOrder) -> list[Window]:
        """The same in whole batches: the windows' ends are moved, and the last sample fills up the last batch."""
        windows = self.visits(order)
        visits = np.concatenate(windows)
        visits = np.pad(visits, ((0, -len(visits) % self.batch_size), (0, 0)), mode="edge")
        ends = np.cumsum([len(window) for window in windows[:-1]], dtype=int)
        parts = np.split(visits, -(-ends // self.batch_size) * self.batch_size)
        return [
            Window(part, self.batch_size, self.seed_and_epoch, self.share.world_size)
            for part in parts
            if len(part)
        ]


@dataclass(frozen=True)
class _Stream:
    """Batches of consecutive passes: the first of those that are left, and how many come after it."""

    batches: Generator[Columns, None, None]
    next_pass: _Pass
    more: int


def _first(count: int, columns: Columns) -> Columns:
    return {name: values[:count] for name, values in columns.items()}
