"""Every kind of feed gives every sample, in the contract's types; memory feeds in a reproducible order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from study.data.batches import Share
from study.data.feed import TableFeed, open_feeds
from study.data.shards import from_table
from taskct_core import schema


@pytest.fixture(scope="module")
def tables(small) -> list:
    return [pq.read_table(path) for path in small.card.shard_paths(small.workspace.dataset, "train")]


@pytest.fixture(scope="module")
def feed(tables: list) -> TableFeed:
    return TableFeed(tables)


def _keys(batches) -> list[tuple[str, int]]:
    return [
        (patient, int(index))
        for batch in batches
        for patient, index in zip(batch[schema.PATIENT], batch[schema.SLICE_INDEX], strict=True)
    ]


def _all_keys(tables: list) -> list[tuple[str, int]]:
    arrays = [from_table(table) for table in tables]
    return sorted(
        (str(p), int(i))
        for a in arrays
        for p, i in zip(a[schema.PATIENT], a[schema.SLICE_INDEX], strict=True)
    )


def test_ordered_gives_every_sample_once_with_its_own_pixels(feed: TableFeed, tables: list) -> None:
    batches = list(feed.ordered(4, share=Share()))
    assert _keys(batches) == _all_keys(tables)
    originals = {
        (str(a[schema.PATIENT][r]), int(a[schema.SLICE_INDEX][r])): a[schema.FBP][r]
        for a in map(from_table, tables)
        for r in range(len(a[schema.PATIENT]))
    }
    images = torch.cat([batch[schema.FBP] for batch in batches])
    for key, image in zip(_keys(batches), images, strict=True):
        np.testing.assert_array_equal(image[0].numpy(), originals[key])


def test_batches_have_the_contracts_types(feed: TableFeed) -> None:
    batch = next(feed.ordered(4, share=Share()))
    assert batch[schema.FULL_DOSE].shape == (4, 1, 64, 64)
    assert batch[schema.FULL_DOSE].dtype == torch.float32
    assert batch[schema.LABELS].shape == (4, 64, 64)
    assert batch[schema.LABELS].dtype == torch.uint8


def test_order_follows_from_seed_and_epoch(feed: TableFeed) -> None:
    def order(seed: int, epoch: int) -> list:
        return _keys(feed.shuffled(4, seed=seed, epoch=epoch, share=Share()))

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)
    assert sorted(order(0, 1)) == _keys(feed.ordered(4, share=Share()))


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_an_epoch_in_equal_steps(feed: TableFeed, workers: int) -> None:
    shares = [Share(rank=rank, world_size=workers) for rank in range(workers)]
    parts = [_keys(feed.shuffled(2, seed=0, epoch=1, share=share)) for share in shares]
    assert len({len(part) for part in parts}) == 1
    assert set().union(*parts) == set(_keys(feed.ordered(2, share=Share())))
    parts = [_keys(feed.ordered(2, share=share)) for share in shares]
    assert sorted(key for part in parts for key in part) == _keys(feed.ordered(2, share=Share()))


@pytest.mark.ray
@pytest.mark.parametrize("data_path", ["memory", "stream"])
def test_ray_feeds_give_the_samples_of_the_shards(
    small, local_ray: None, data_path: str, tables: list
) -> None:
    feeds = open_feeds(small.card, Path(small.workspace.dataset), data_path)
    assert set(feeds) == set(schema.SPLITS)
    feed = feeds["train"]
    ordered = list(feed.ordered(4, share=Share()))
    assert sorted(_keys(ordered)) == _all_keys(tables)
    assert ordered[0][schema.FULL_DOSE].shape[1:] == (1, 64, 64)
    shuffled = _keys(feed.shuffled(4, seed=0, epoch=1, share=Share()))
    assert sorted(shuffled) == _all_keys(tables)
    assert shuffled != _all_keys(tables)
