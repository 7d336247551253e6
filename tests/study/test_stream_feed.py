"""Reading ahead and shuffling in a buffer: every sample once, no wait for a next pass, no thread left behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from study.data.batches import Share
from study.data.feed import open_feeds
from study.data.read_ahead import ReadAhead
from study.data.shuffle_buffer import shuffled
from study.data.stream_feed import StreamFeed
from taskct_core import schema


def stream(count: int, batch_size: int = 5) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, count, batch_size):
        numbers = np.arange(start, min(count, start + batch_size))
        yield {"number": numbers, "image": np.repeat(numbers[:, None], 3, axis=1)}


def shuffle(count: int, *, batch_size: int = 4, capacity: int = 20, seed: int = 0) -> list[dict]:
    random = np.random.default_rng(seed)
    return list(shuffled(stream(count), batch_size, capacity=capacity, random=random, drained=lambda: None))


@pytest.mark.parametrize("count", [0, 1, 3, 19, 20, 21, 103])
def test_a_shuffle_gives_every_sample_once_whole_and_in_full_batches(count: int) -> None:
    batches = shuffle(count)
    numbers = [int(number) for batch in batches for number in batch["number"]]
    assert sorted(numbers) == list(range(count))
    assert all((batch["image"] == batch["number"][:, None]).all() for batch in batches)
    assert all(len(batch["number"]) == 4 for batch in batches[:-1])


def test_a_shuffle_mixes_within_its_buffer_and_follows_its_seed() -> None:
    def order(seed: int) -> list[int]:
        return [int(number) for batch in shuffle(200, seed=seed) for number in batch["number"]]

    assert order(1) == order(1) != order(2)
    assert order(1) != sorted(order(1))
    # A sample cannot come before it was read: at most a buffer and a block ahead of its turn.
    assert all(number <= place + 20 + 5 for place, number in enumerate(order(1)))


def test_a_shuffle_tells_that_its_stream_is_drained_while_its_buffer_is_full() -> None:
    events: list[str] = []
    batches = shuffled(
        stream(40),
        4,
        capacity=20,
        random=np.random.default_rng(0),
        drained=lambda: events.append("drained"),
    )
    for _batch in batches:
        events.append("batch")
    batches_left = len(events) - events.index("drained") - 1
    assert batches_left >= (20 - 4) / 4


def counting(passes: list[int], batches: int, seconds: float = 0.0) -> Callable:
    def open_pass(drained: Callable[[], None]) -> Iterator[dict]:
        passes.append(len(passes))
        time.sleep(seconds)
        for number in range(batches):
            yield {"number": number}
        drained()

    return open_pass


def test_reading_ahead_keeps_the_order_and_raises_what_the_stream_raises() -> None:
    assert [batch["number"] for batch in ReadAhead(counting([], 9))] == list(range(9))

    def failing(drained: Callable[[], None]) -> Iterator[dict]:
        yield {"number": 0}
        raise OSError("disk gone")

    batches = ReadAhead(failing)
    assert next(batches) == {"number": 0}
    with pytest.raises(OSError, match="disk gone"):
        next(batches)
    assert list(batches) == []


def test_the_next_pass_begins_while_batches_of_this_one_are_left() -> None:
    passes: list[int] = []
    batches = ReadAhead(counting(passes, 3), lambda: ReadAhead(counting(passes, 3)))
    assert next(batches) == {"number": 0}
    _wait_until(lambda: len(passes) == 2)
    assert [batch["number"] for batch in batches] == [1, 2]
    assert batches.next_pass is not None
    assert len(list(batches.next_pass)) == 3


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_pass_that_nobody_wants_ends_its_thread_and_those_of_its_successors(how: str) -> None:
    before = threading.active_count()
    batches = ReadAhead(counting([], 3), lambda: ReadAhead(counting([], 100)))
    _wait_until(lambda: threading.active_count() > before)
    if how == "closed":
        batches.close()
        assert list(batches) == []
    del batches
    gc.collect()
    _wait_until(lambda: threading.active_count() == before)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.ray
def test_epochs_of_a_stream_are_whole_differ_and_start_ahead(small, local_ray: None) -> None:
    feed = open_feeds(small.card, Path(small.workspace.dataset), "stream")["train"]
    assert isinstance(feed, StreamFeed)

    def order(epoch: int, more: int) -> list[tuple[str, int]]:
        batches = feed.shuffled(4, seed=0, epoch=epoch, share=Share(), more=more)
        return [
            key
            for batch in batches
            for key in zip(batch[schema.PATIENT], batch[schema.SLICE_INDEX], strict=True)
        ]

    first, second = order(1, 1), order(2, 0)
    assert sorted(first) == sorted(second) == sorted(set(first))
    assert first != second
    assert len(first) == small.card.counts["train"]["samples"]
    order(1, 5)  # begins epoch 2, which is not what comes next
    assert sorted(order(7, 0)) == sorted(first)


@pytest.mark.ray
def test_a_stream_that_is_left_early_can_be_drawn_again(small, local_ray: None) -> None:
    feed = open_feeds(small.card, Path(small.workspace.dataset), "stream")["validation"]
    assert len(next(iter(feed.ordered(1, share=Share(), more=1)))[schema.PATIENT]) == 1
    samples = sum(len(batch[schema.PATIENT]) for batch in feed.ordered(2, share=Share()))
    assert samples == small.card.counts["validation"]["samples"]
