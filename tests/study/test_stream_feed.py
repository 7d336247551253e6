"""Streams give what memory gives, to every worker; reading ahead leaves no thread behind."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from study.data.batches import Share
from study.data.feed import Feed, open_feeds
from study.data.read_ahead import ReadAhead, chained
from study.data.stream_feed import StreamFeed
from taskct_core import schema
from taskct_core.contracts.rows import Batch
from taskct_core.errors import DataError


def test_reading_ahead_keeps_the_order_and_raises_what_the_stream_raises() -> None:
    assert list(ReadAhead(lambda: iter(range(9)))) == list(range(9))

    def failing() -> Iterator[int]:
        yield 0
        raise OSError("disk gone")

    items = ReadAhead(failing)
    assert next(items) == 0
    with pytest.raises(OSError, match="disk gone"):
        next(items)
    assert list(items) == []


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_stream_that_nobody_wants_ends_its_thread(how: str) -> None:
    before = threading.active_count()
    items = ReadAhead(lambda: iter(range(100)))
    _wait_until(lambda: threading.active_count() > before)
    if how == "closed":
        items.close()
        assert list(items) == []
    del items
    gc.collect()
    _wait_until(lambda: threading.active_count() == before)


def test_a_chain_opens_the_next_stream_while_this_one_is_used_and_no_further() -> None:
    opened: list[int] = []

    def part(number: int) -> Iterator[int]:
        opened.append(number)
        return iter(range(10 * number, 10 * number + 3))

    items = chained(partial(part, number) for number in range(4))
    assert next(items) == 0
    _wait_until(lambda: opened == [0, 1])
    assert list(items) == [1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert opened == [0, 1, 2, 3]


def test_a_chain_that_is_left_ends_its_threads() -> None:
    before = threading.active_count()
    items = chained(lambda: iter(range(100)) for _ in range(3))
    assert next(items) == 0
    items.close()
    _wait_until(lambda: threading.active_count() == before)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keys(batches: Iterator[Batch]) -> list[tuple[str, int]]:
    return [
        key for batch in batches for key in zip(batch[schema.PATIENT], batch[schema.SLICE_INDEX], strict=True)
    ]


@pytest.fixture(scope="module")
def streams(small, local_ray: None) -> dict[str, Feed]:
    feeds = open_feeds(small.card, Path(small.workspace.dataset), "stream")
    assert all(isinstance(feed, StreamFeed) for feed in feeds.values())
    return feeds


@pytest.mark.ray
@pytest.mark.parametrize("workers", range(1, 6))
def test_streams_give_every_worker_the_batches_that_memory_gives(small, streams, workers: int) -> None:
    for split, stream in streams.items():
        memory = small.feed(split)
        for rank in range(workers):
            share = Share(rank=rank, world_size=workers)
            for epoch, more in ((3, 1), (4, 0)):
                arguments = {"seed": 5, "epoch": epoch, "share": share}
                expected = list(memory.shuffled(3, **arguments))
                given = list(stream.shuffled(3, **arguments, more=more))
                assert [keys([batch]) for batch in given] == [keys([batch]) for batch in expected]
                for a, b in zip(given, expected, strict=True):
                    assert torch.equal(a[schema.FBP], b[schema.FBP])
            assert keys(stream.ordered(2, share=share)) == keys(memory.ordered(2, share=share))


@pytest.mark.ray
def test_epochs_of_a_stream_are_whole_and_differ_whichever_comes_next(small, streams) -> None:
    def order(epoch: int, more: int) -> list[tuple[str, int]]:
        return keys(streams["train"].shuffled(4, seed=0, epoch=epoch, share=Share(), more=more))

    first, second = order(1, 1), order(2, 0)
    assert sorted(first) == sorted(second) == sorted(set(first))
    assert first != second
    assert len(first) == small.card.counts["train"]["samples"]
    order(1, 5)  # goes on to epoch 2, which is not what comes next
    assert order(7, 0) == order(7, 3) != second


@pytest.mark.ray
def test_a_stream_that_is_left_early_can_be_drawn_again(small, streams) -> None:
    feed = streams["validation"]
    assert len(next(iter(feed.ordered(1, share=Share(), more=1)))[schema.PATIENT]) == 1
    assert len(keys(feed.ordered(2, share=Share()))) == small.card.counts["validation"]["samples"]


@pytest.mark.ray
def test_a_shard_that_is_gone_is_told_to_who_draws(small, tmp_path: Path, local_ray: None) -> None:
    shutil.copytree(small.workspace.dataset, tmp_path, dirs_exist_ok=True)
    feed = open_feeds(small.card, tmp_path, "stream")["train"]
    small.card.shard_paths(tmp_path, "train")[-1].unlink()
    with pytest.raises(DataError, match=r"undamaged.*No such file"):
        keys(feed.shuffled(2, seed=0, epoch=1, share=Share()))
