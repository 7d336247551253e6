"""How well and how fast a stream mixes samples: measured on a dataset that is larger than any of its buffers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from small_study import SETTINGS

from study.config import ExperimentConfig
from study.data.batches import Share, to_batch
from study.data.dataset import DatasetCard
from study.data.shards import from_table, read_shard, to_table, write_shard
from study.data.simulate import simulate
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from taskct_core import schema
from taskct_core.contracts.rows import Batch

BATCH_SIZE = 8
_WARM_UP = 1_500  # samples until they come steadily
_BATCHES_A_LOOK = 50


def measure_stream(folder: Path, preset: str, samples: int, rounds: int) -> dict[str, float]:
    """Simulate some phantoms, make many patients of them, and stream those, in turn with plain pyarrow. Needs Ray.

    ``shuffle_correlation``: of a sample's place in the epoch with its place on disk, the largest of all epochs.
    ``patients_per_batch_share``: patients that a batch meets, over those it meets in a true shuffle.
    ``stream_over_pyarrow``: samples a second of the stream, over those that pyarrow reads in one process in the order
    of the disk; medians of rates without their start. ``memory_growth_mb``: the most that all processes together hold
    (proportional set sizes) in the second half of an epoch, beyond the most in the first half.
    """
    source = {"kind": "phantom", "patients": 12, "slices_per_patient": 16, "pixels": 128}
    simulation = {"preset": preset, "fresh": False}
    values = SETTINGS | {"output": str(folder), "simulation": simulation, "data": {"source": source}}
    card = simulate(ExperimentConfig.parse(values), folder / "phantoms")
    return _stream_quality(_many_patients(card, folder / "phantoms", folder / "many", samples), rounds)


def _many_patients(card: DatasetCard, folder: Path, target: Path, samples: int) -> SplitShards:
    """The training samples of a dataset again and again, as other patients', in ``target``: so many samples."""
    tables = [read_shard(path) for path in card.shard_paths(folder, "train")]
    entries: list[Any] = []
    total = 0
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


def _stream_quality(shards: SplitShards, rounds: int) -> dict[str, float]:
    """An epoch whose memory is watched, then streamed epochs and passes of plain pyarrow in turn."""
    feed = StreamFeed(shards)

    def epoch_of(number: int) -> Iterator[Batch]:
        return feed.shuffled(BATCH_SIZE, seed=0, epoch=number, share=Share())

    patients = np.repeat(np.arange(len(shards.order.samples)), shards.order.samples)
    first_place = np.cumsum([0, *shards.order.samples])
    growth_mb = _memory_growth_mb(epoch_of(0), len(patients))
    ratios, correlations, mixed = [], [], []
    for epoch in range(1, rounds + 1):
        places, rate = _steadily(_places(batch, first_place) for batch in epoch_of(epoch))
        ratios.append(rate / _steadily(_places(batch, first_place) for batch in _with_pyarrow(shards))[1])
        order = np.concatenate(places)
        correlations.append(abs(float(np.corrcoef(np.arange(len(order)), order)[0, 1])))
        true_shuffle = np.random.default_rng(epoch).permutation(len(order))
        mixed.append(_patients_a_batch(patients[order]) / _patients_a_batch(patients[true_shuffle]))
    return {
        "samples_streamed": float(len(patients) * rounds),
        "shuffle_correlation": max(correlations),
        "patients_per_batch_share": min(mixed),
        "stream_over_pyarrow": float(np.median(ratios)),
        "memory_growth_mb": growth_mb,
    }


def _steadily(batches: Iterable[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """The batches, and how many samples a second come once the first have."""
    taken, samples, start, warm = [], 0, 0.0, 0
    for batch in batches:
        taken.append(batch)
        samples += len(batch)
        if not start and samples >= _WARM_UP:
            start, warm = time.perf_counter(), samples
    return taken, (samples - warm) / (time.perf_counter() - start)


def _memory_growth_mb(batches: Iterable[Batch], samples: int) -> float:
    """The most memory in the second half of an epoch, beyond the most in the first."""
    halves: tuple[list[float], list[float]] = ([], [])
    for number, batch in enumerate(batches):
        if number % _BATCHES_A_LOOK == 0:
            halves[number * BATCH_SIZE >= samples / 2].append(_memory_mb())
        del batch
    return max(halves[1]) - max(halves[0])


def _with_pyarrow(shards: SplitShards) -> Iterator[Batch]:
    for path in shards.paths:
        for rows in pq.ParquetFile(path).iter_batches(batch_size=BATCH_SIZE):
            yield to_batch(from_table(pa.Table.from_batches([rows])))


def _places(batch: Batch, first_place: np.ndarray) -> np.ndarray:
    """Where the samples of a batch lie on disk; see ``_many_patients``."""
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
