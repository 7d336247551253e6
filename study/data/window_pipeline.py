"""A window of an epoch's order -> its batches.

Stored samples: a task of Ray Data reads them. Fresh samples: a task reads what they are drawn from, and tasks on
``FreshSamples.cpus`` CPUs, wherever in the cluster there are, scan it a few samples at a time; or a thread of this
process does both. What is ready waits in the object store, a window of it and the next at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.data.batches import Columns
from study.data.epoch_order import Visits
from study.data.fresh_samples import VISIT, FreshSamples
from study.data.split_shards import SplitShards
from taskct_core import schema

if TYPE_CHECKING:  # Ray Data takes seconds to import
    from ray.data import Dataset

_SAMPLES_A_SCAN = 16  # of a task
_BYTES_A_PIXEL = 12  # of a base: int16 and uint8 on a grid twice as fine


@dataclass(frozen=True)
class Window:
    """What is read together.

    Attributes:
        visits: in whole batches.
        batch_size: samples a batch.
        seed_and_epoch: of a shuffled epoch.
        workers: that share the epoch, each with windows of its own.
    """

    visits: Visits
    batch_size: int
    seed_and_epoch: tuple[int, int] | None
    workers: int


def batches_of(window: Window, shards: SplitShards, fresh: FreshSamples | None) -> Iterator[Columns]:
    """The window's batches in their order: fresh samples of an epoch, if there are any, or stored ones.

    Raises:
        DataError: if a shard is missing or damaged.
    """
    if fresh is None or window.seed_and_epoch is None:
        return _telling_damage(_stored(window, shards), shards, window, shards.columns)
    if fresh.cpus == 0:
        return _scanned_here(window, shards, fresh)
    return _telling_damage(_scanned_by_tasks(window, shards, fresh), shards, window, fresh.reads)


def _telling_damage(
    batches: Iterator[Columns], shards: SplitShards, window: Window, columns: Sequence[str] | None
) -> Iterator[Columns]:
    from ray.exceptions import RayError

    try:
        yield from batches
    except RayError:  # it buries what the reader said, who says it again here
        for _ in shards.read(window.visits[:, 0], columns):
            pass
        raise


def _stored(window: Window, shards: SplitShards) -> Iterator[Columns]:
    return _batches(_read_by_task(_read, window=window, shards=shards), window)


def _scanned_by_tasks(window: Window, shards: SplitShards, fresh: FreshSamples) -> Iterator[Columns]:
    bases = _read_by_task(_read_bases, window=window, shards=shards, fresh=fresh)
    samples = bases.map_batches(
        _scan,  # type: ignore[arg-type]  # Ray's types know nothing of fn_kwargs
        batch_size=None,
        batch_format="numpy",
        fn_kwargs={"window": window, "fresh": fresh},
        num_cpus=1,
        concurrency=-(-fresh.cpus // window.workers),
    )
    samples.context.target_max_block_size = _SAMPLES_A_SCAN * _BYTES_A_PIXEL * shards.order.pixels
    return _batches(samples, window)


def _scanned_here(window: Window, shards: SplitShards, fresh: FreshSamples) -> Iterator[Columns]:
    for bases in _bases(window, shards, fresh, window.batch_size):
        yield _scan(bases, window, fresh)


def _read_by_task(read: Callable[..., Iterator[Columns]], **arguments: object) -> Dataset:
    import ray.data

    return ray.data.from_items([0]).map_batches(
        read,
        batch_format="numpy",
        fn_kwargs=arguments,
        num_cpus=0,  # it waits for the disk, and must not wait for a CPU that trials have
    )


def _batches(dataset: Dataset, window: Window) -> Iterator[Columns]:
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = False  # a worker has the defaults, not those of the driver
    return iter(dataset.iter_batches(batch_size=window.batch_size, batch_format="numpy"))


def _read(_: Columns, window: Window, shards: SplitShards) -> Iterator[Columns]:
    return shards.read(window.visits[:, 0], shards.columns)


def _read_bases(_: Columns, window: Window, shards: SplitShards, fresh: FreshSamples) -> Iterator[Columns]:
    return _bases(window, shards, fresh, _SAMPLES_A_SCAN)


def _bases(window: Window, shards: SplitShards, fresh: FreshSamples, count: int) -> Iterator[Columns]:
    start = 0
    for columns in shards.read(window.visits[:, 0], fresh.reads, count):
        end = start + len(columns[schema.PATIENT])
        yield {**columns, VISIT: window.visits[start:end, 1]}
        start = end


def _scan(bases: Columns, window: Window, fresh: FreshSamples) -> Columns:
    assert window.seed_and_epoch is not None
    return fresh.draw(bases, *window.seed_and_epoch)
