"""How well and how fast a stream mixes samples: measured on a dataset that is larger than any of its buffers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from study.data.batches import Batch, Share, to_batch
from study.data.dataset import DatasetCard
from study.data.shards import from_table, read_shard, to_table, write_shard
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from taskct_core import schema

BATCH_SIZE = 8
_WARM_UP = 1_500  # samples until every process and buffer has its size


def many_patients(card: DatasetCard, folder: Path, target: Path, samples: int) -> SplitShards:
    """The training samples of a dataset again and again, as other patients', in ``target``: so many samples."""
    tables = [read_shard(path) for path in card.shard_paths(folder, "train")]
    entries, total = [], 0
    while total < samples:
        table = tables[len(entries) % len(tables)]
        patient = f"{len(entries):05d}"
        columns = from_table(table.select(card.sample_columns))
        columns[schema.PATIENT] = np.full(table.num_rows, patient)
        columns[schema.SLICE_INDEX] = np.arange(table.num_rows)
        entry = card.shards["train"][0].model_copy(
            update={"path": f"train/{patient}-00000.parquet", "patient": patient, "rows": table.num_rows}
        )
        write_shard(target / entry.path, to_table(columns, "benchmark"))
        entries.append(entry)
        total += table.num_rows
    copy = card.model_copy(update={"shards": {**card.shards, "train": entries}})
    return SplitShards.of(copy, target, "train")


def stream_quality(shards: SplitShards, rounds: int) -> dict[str, float]:
    """Streamed epochs and passes of plain pyarrow in turn.

    ``shuffle_correlation``: of a sample's place in the epoch with its place on disk, the largest of all epochs.
    ``patients_per_batch_share``: patients that a batch meets, over those it meets in a true shuffle.
    ``stream_over_pyarrow``: samples a second of the stream, over those that pyarrow reads in one process in the order
    of the disk; medians of rates without their start. ``memory_growth_mb``: of all processes together (proportional
    set sizes), from the first 1,500 samples of the first epoch to its end.
    """
    feed = StreamFeed(shards)
    patients = np.repeat(np.arange(len(shards.order.samples)), shards.order.samples)
    first_place = np.cumsum([0, *shards.order.samples])
    ratios, correlations, mixed, growth = [], [], [], 0.0
    for epoch in range(1, rounds + 1):
        meter = _Meter(watches_memory=epoch == 1)
        batches = feed.shuffled(BATCH_SIZE, seed=0, epoch=epoch, share=Share())
        places = [_places(batch, first_place) for batch in meter.of(batches)]
        ratios.append(meter.rate / _pyarrow_rate(shards))
        growth = growth or meter.memory_growth_mb
        order = np.concatenate(places)
        correlations.append(abs(float(np.corrcoef(np.arange(len(order)), order)[0, 1])))
        true_shuffle = np.random.default_rng(epoch).permutation(len(order))
        mixed.append(_patients_a_batch(patients[order]) / _patients_a_batch(patients[true_shuffle]))
    return {
        "samples_streamed": float(len(patients) * rounds),
        "shuffle_correlation": max(correlations),
        "patients_per_batch_share": min(mixed),
        "stream_over_pyarrow": float(np.median(ratios)),
        "memory_growth_mb": growth,
    }


class _Meter:
    """The rate at which batches come, and the memory that it takes, once they come steadily."""

    def __init__(self, watches_memory: bool) -> None:
        self._watches_memory = watches_memory
        self.rate = 0.0
        self.memory_growth_mb = 0.0

    def of(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        samples, start, memory = 0, 0.0, 0.0
        for batch in batches:
            samples += len(batch[schema.LABELS])
            if not start and samples >= _WARM_UP:
                memory = _memory_mb() if self._watches_memory else 0.0
                start, warm = time.perf_counter(), samples
            yield batch
        self.rate = (samples - warm) / (time.perf_counter() - start)
        self.memory_growth_mb = _memory_mb() - memory if self._watches_memory else 0.0


def _pyarrow_rate(shards: SplitShards) -> float:
    meter = _Meter(watches_memory=False)
    for _ in meter.of(_with_pyarrow(shards)):
        pass
    return meter.rate


def _with_pyarrow(shards: SplitShards) -> Iterator[Batch]:
    for path in shards.paths:
        for rows in pq.ParquetFile(path).iter_batches(batch_size=BATCH_SIZE):
            yield to_batch(from_table(pa.Table.from_batches([rows])))


def _places(batch: Batch, first_place: np.ndarray) -> np.ndarray:
    """Where the samples of a batch lie on disk; see ``many_patients``."""
    return first_place[np.array(batch[schema.PATIENT], int)] + np.array(batch[schema.SLICE_INDEX])


def _patients_a_batch(patients: np.ndarray) -> float:
    batches = patients[: len(patients) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE)
    return float(np.mean([len(np.unique(batch)) for batch in batches]))


def _memory_mb() -> float:
    """Of this process and its children, pages that several map counted once."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total / 1e6
