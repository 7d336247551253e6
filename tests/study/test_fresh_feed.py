"""Fresh samples reach training as the scanner draws them, whoever scans them and however many workers train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.config import ExperimentConfig
from study.data.batches import Share
from study.data.fresh_samples import FreshSamples
from study.data.shards import from_table, read_shard
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from study.experiment.inputs import fresh_samples
from study.trials.config import ExecutionConfig
from study.trials.resources import simulation_cpus
from taskct_core import schema
from taskct_core.contracts.rows import Batch
from taskct_core.errors import ResourceError
from taskct_core.geometry import ParallelBeam
from taskct_core.simulation.config import FreshDrawConfig, SimulationConfig
from taskct_core.simulation.fresh import FreshScanner

Key = tuple[str, int]


@pytest.fixture(scope="module")
def shards(small) -> SplitShards:
    return SplitShards.of(small.card, Path(small.workspace.dataset), "train")


@pytest.fixture(scope="module")
def fresh(small) -> FreshSamples:
    return FreshSamples(
        ParallelBeam.from_dict(small.card.geometry), SimulationConfig.parse(small.card.simulation)
    )


@pytest.fixture(scope="module")
def drawn(small, fresh: FreshSamples) -> dict[Key, np.ndarray]:
    """FBP of every training slice in epoch 3 of seed 5, drawn by the scanner from all rows of a shard at once."""
    scanner = FreshScanner(fresh.geometry, fresh.simulation)
    images: dict[Key, np.ndarray] = {}
    for path in small.card.shard_paths(small.workspace.dataset, "train"):
        samples = scanner(from_table(read_shard(path)), seed=5, epoch=3)
        images |= dict(zip(keys_of(samples), samples[schema.FBP], strict=True))
    return images


def keys_of(columns: Any) -> list[Key]:
    pairs = zip(columns[schema.PATIENT], columns[schema.SLICE_INDEX], strict=True)
    return [(str(patient), int(index)) for patient, index in pairs]


def images_of(batches: Iterator[Batch]) -> list[tuple[Key, np.ndarray]]:
    return [
        (key, image[0].numpy())
        for batch in batches
        for key, image in zip(keys_of(batch), batch[schema.FBP], strict=True)
    ]


def check_drawn(feed: StreamFeed, drawn: dict[Key, np.ndarray], workers: int) -> None:
    found: set[Key] = set()
    for rank in range(workers):
        share = Share(rank=rank, world_size=workers)
        for key, image in images_of(feed.shuffled(2, seed=5, epoch=3, share=share)):
            np.testing.assert_array_equal(image, drawn[key])
            found.add(key)
    assert found == drawn.keys()


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_a_thread_gives_what_the_scanner_draws(
    shards: SplitShards, fresh: FreshSamples, drawn: dict[Key, np.ndarray], workers: int
) -> None:
    check_drawn(StreamFeed(shards, fresh), drawn, workers)


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_ray_tasks_give_what_the_scanner_draws(
    shards: SplitShards, fresh: FreshSamples, drawn: dict[Key, np.ndarray], local_ray: None, workers: int
) -> None:
    check_drawn(StreamFeed(shards, replace(fresh, cpus=2)), drawn, workers)


def test_an_epoch_is_the_same_whether_it_is_resumed_at_or_reached(
    shards: SplitShards, fresh: FreshSamples
) -> None:
    feed = StreamFeed(shards, fresh)
    second = images_of(feed.shuffled(4, seed=0, epoch=2, share=Share()))
    first = images_of(feed.shuffled(4, seed=0, epoch=1, share=Share(), more=1))
    reached = images_of(feed.shuffled(4, seed=0, epoch=2, share=Share(), more=0))
    assert [key for key, _ in second] == [key for key, _ in reached] != [key for key, _ in first]
    for (_, a), (_, b) in zip(second, reached, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(dict(first)[second[0][0]], second[0][1])


@pytest.mark.ray
def test_scoring_the_train_split_takes_its_stored_samples(
    small, shards: SplitShards, fresh: FreshSamples, local_ray: None
) -> None:
    stored = dict(images_of(small.feed("train").ordered(4, share=Share())))
    for key, image in images_of(StreamFeed(shards, fresh).ordered(4, share=Share())):
        np.testing.assert_array_equal(image, stored[key])


def test_slices_with_tumours_are_visited_more_often(shards: SplitShards, fresh: FreshSamples) -> None:
    tumours = np.zeros(12, bool)
    tumours[7] = True
    simulation = fresh.simulation.model_copy(update={"fresh_draw": FreshDrawConfig(tumour_share=0.5)})
    feed = StreamFeed(shards, replace(fresh, simulation=simulation, has_tumour=tumours))
    images = images_of(feed.shuffled(4, seed=0, epoch=1, share=Share()))
    rare = max({key for key, _ in images}, key=lambda key: [k for k, _ in images].count(key))
    visits = [image for key, image in images if key == rare]
    assert (len(images), len(visits)) == (12, 6)
    assert not any(np.array_equal(visits[0], other) for other in visits[1:])


def test_who_simulates_if_nobody_is_named() -> None:
    on_cpus, on_gpu = ExecutionConfig(), ExecutionConfig(use_gpu=True, cpus_per_worker=2)
    assert simulation_cpus(on_cpus, 1, 16) == 0
    assert simulation_cpus(on_gpu, 2, 16) == 6
    assert simulation_cpus(on_gpu, 8, 16) == 0
    assert simulation_cpus(on_gpu.model_copy(update={"simulation_cpus": 3}), 8, 16) == 3


@pytest.mark.ray
def test_an_experiment_decides_whether_samples_are_fresh(small, local_ray: None) -> None:
    def of(simulation: dict[str, Any], execution: dict[str, Any]) -> FreshSamples | None:
        values = small.experiment.model_dump()
        values["simulation"] |= simulation
        values["execution"] |= execution
        return fresh_samples(ExperimentConfig.parse(values), small.card, small.workspace.dataset)

    still = of({"fresh_draw": {"turn_degrees": 0, "scale": 0, "shift_mm": 0}}, {"simulation_cpus": 1})
    assert still is not None
    assert (still.cpus, schema.FULL_DOSE in still.reads) == (1, True)
    assert of({"fresh": False}, {}) is None
    with pytest.raises(ResourceError, match="no trial takes"):
        of({}, {"simulation_cpus": 1, "cpus_per_worker": 2})
