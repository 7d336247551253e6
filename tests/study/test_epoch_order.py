"""The order of an epoch: whole, the same for any number of workers, mixed like a true shuffle, far from the disk's."""

from __future__ import annotations

import numpy as np
import pytest

from study.data.batches import Share
from study.data.epoch_order import EpochOrder
from study.data.feed import smallest_object_store

FEW = EpochOrder(samples=(4, 1, 7), pixels=150_000)
# 300 patients of 20 slices; 8 windows of 128 fragments of 7.
MANY = EpochOrder(samples=(20,) * 300, pixels=42_000)


def places(order: EpochOrder, epoch: int = 1, share: Share | None = None) -> list[int]:
    windows = order.shuffled(0, epoch, share or Share())
    return [int(place) for window in windows for place, _visit in window]


@pytest.mark.parametrize("order", [FEW, MANY])
@pytest.mark.parametrize("workers", range(1, 14))
def test_workers_take_turns_in_one_order_and_equally_many(order: EpochOrder, workers: int) -> None:
    whole = places(order)
    assert sorted(whole) == list(range(order.count))
    parts = [places(order, share=Share(rank=rank, world_size=workers)) for rank in range(workers)]
    turns = [place for turn in zip(*parts, strict=True) for place in turn]
    assert turns == list(np.resize(whole, len(turns)))
    assert order.count <= len(turns) < order.count + workers


@pytest.mark.parametrize("workers", range(1, 14))
def test_each_place_is_scored_by_one_worker(workers: int) -> None:
    parts = [FEW.ordered(Share(rank=rank, world_size=workers)) for rank in range(workers)]
    assert [int(place) for part in parts for window in part for place, _visit in window] == list(
        range(FEW.count)
    )


def test_an_order_follows_from_seed_and_epoch() -> None:
    assert places(MANY, 1) == places(MANY, 1) != places(MANY, 2)
    assert not np.array_equal(FEW.shuffled(1, 1, Share()), FEW.shuffled(2, 1, Share()))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_places_are_visited_as_often_as_asked_and_the_visits_are_numbered(workers: int) -> None:
    asked = np.array([0, 3, 1, 1, 0, 2, 1, 1, 0, 1, 2, 4])  # 16 visits
    shares = [Share(rank=rank, world_size=workers) for rank in range(workers)]
    parts = [np.concatenate(FEW.shuffled(0, 1, share, asked)) for share in shares]
    turns = [tuple(visit) for turn in zip(*parts, strict=True) for visit in turn]
    expected = [(place, number) for place, times in enumerate(asked) for number in range(times)]
    assert sorted(turns[: len(expected)]) == expected
    assert turns[len(expected) :] == turns[: len(turns) - len(expected)]


@pytest.mark.parametrize("batch_size", [4, 8, 16])
def test_a_batch_meets_nearly_as_many_patients_as_in_a_true_shuffle(batch_size: int) -> None:
    patient = np.repeat(np.arange(300), 20)

    def patients_a_batch(order: list[int]) -> float:
        batches = patient[order].reshape(-1, batch_size)
        return float(np.mean([len(np.unique(batch)) for batch in batches]))

    true_shuffle = [int(place) for place in np.random.default_rng(0).permutation(MANY.count)]
    assert patients_a_batch(places(MANY)) >= 0.9 * patients_a_batch(true_shuffle)


@pytest.mark.parametrize("epoch", range(1, 6))
def test_when_a_sample_comes_does_not_tell_where_it_lies(epoch: int) -> None:
    order = places(MANY, epoch)
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.1


def test_no_window_takes_more_memory_than_its_fragments_may() -> None:
    for order in (FEW, MANY):
        windows = order.shuffled(0, 1, Share()) + order.ordered(Share())
        assert max(map(len, windows)) * order.pixels <= 128 * 300_000


def test_what_fits_into_memory_is_decided_by_the_smallest_node_that_trains() -> None:
    nodes = [
        {"Resources": {"CPU": 8.0, "object_store_memory": 64e9}},
        {"Resources": {"CPU": 2.0, "object_store_memory": 2e9}},
        {"Resources": {"object_store_memory": 1e9}},  # a head that runs no trials
    ]
    assert smallest_object_store(nodes) == 2e9
