"""How much training throughput do Ray Data's feeds keep, beside the same loop on tensors in memory?

    python benchmarks/streaming.py
    python benchmarks/streaming.py --preset lodopab --json result.json   # flat keys

The U-Net trains the same epochs from: tensors in memory; a DataLoader on a memory-mapped file; the blocks of a
materialized dataset (``MemoryFeed``); shards streamed by Ray Data (``StreamFeed``). They take turns, in another
order every round; a turn is a trial's epochs one after another, the start of the first included.

``materialized_ratio``, ``streamed_ratio``, ``memmap_ratio``: samples a second over those from memory in the same
round, medians over rounds. ``*_feed_samples_per_s``: of the feed alone, without training.
``first_batch_s``: until a stream's first batch. ``peak_memory_mb``: of this process, streaming.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from taskct_core.contracts.rows import Batch

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import psutil
import torch
from bench_record import write_result
from small_study import prepare
from torch.utils.data import DataLoader, Dataset

from study.cluster.ray_session import ray_session
from study.config import ExperimentConfig
from study.data.batches import Share
from study.data.feed import open_feeds
from study.workspace import Workspace
from taskct_core import schema
from taskct_core.geometry import ParallelBeam
from taskct_core.task_networks import load_task_network
from taskct_core.training import Training, build_training

COLUMNS = (schema.FULL_DOSE, schema.FBP, schema.LABELS)
PATIENTS = {"tiny": 40, "small": 30, "lodopab": 8}  # an epoch takes some 10 s on one core
Epoch = Callable[[int, int], Iterator[Batch]]  # (its number, how many will follow)


class MappedSamples(Dataset):
    """Samples in memory-mapped files, as a hand-written loader would keep them."""

    def __init__(self, folder: Path, batches: list[Batch]) -> None:
        self._columns = {}
        for name in COLUMNS:
            np.save(folder / f"{name}.npy", torch.cat([batch[name] for batch in batches]).numpy())
            self._columns[name] = np.load(folder / f"{name}.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._columns[schema.LABELS])

    def __getitem__(self, index: int) -> Batch:
        return {name: torch.from_numpy(values[index].copy()) for name, values in self._columns.items()}


def train_rate(training: Training, epoch: Epoch, first: int, epochs: int) -> float:
    """Samples a second over consecutive epochs, their data included."""
    start, samples = time.perf_counter(), 0
    for number in range(epochs):
        samples += int(training.train_epoch(epoch(first + number, epochs - number - 1))["samples"])
    return samples / (time.perf_counter() - start)


def feed_rate(epoch: Epoch, number: int) -> float:
    """Samples a second that a feed gives to a loop that does nothing with them."""
    start = time.perf_counter()
    samples = sum(len(batch[schema.LABELS]) for batch in epoch(number, 0))
    return samples / (time.perf_counter() - start)


def in_memory(batches: list[Batch], batch_size: int) -> Epoch:
    """Whole tensors and a permutation: nothing can be faster on one process."""
    columns = {name: torch.cat([batch[name] for batch in batches]) for name in COLUMNS}
    count = len(columns[schema.LABELS])

    def epoch(number: int, more: int) -> Iterator[Batch]:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(number))
        for rows in order.split(batch_size):
            yield {name: values[rows] for name, values in columns.items()}

    return epoch


def measure(
    experiment: ExperimentConfig, workspace: Workspace, card, rounds: int, epochs: int, folder: Path
) -> dict[str, float]:
    """Interleaved turns of every feed: median throughput ratios."""
    batch_size = experiment.trial.batch_size
    memory = open_feeds(card, workspace.dataset, "memory")["train"]
    stream = open_feeds(card, workspace.dataset, "stream")["train"]
    batches = list(memory.ordered(16, share=Share()))
    loader = DataLoader(MappedSamples(folder, batches), batch_size=batch_size, shuffle=True)
    feeds: dict[str, Epoch] = {
        "memory": in_memory(batches, batch_size),
        "memmap": lambda number, more: iter(loader),
        "materialized": lambda number, more: memory.shuffled(batch_size, seed=0, epoch=number, share=Share()),
        "streamed": lambda number, more: stream.shuffled(
            batch_size, seed=0, epoch=number, share=Share(), more=more
        ),
    }
    network, _card = load_task_network(workspace.task_network)
    training = build_training(
        experiment.trial, geometry=ParallelBeam.from_dict(card.geometry), task_network=network
    )
    rates: dict[str, list[float]] = {name: [] for name in feeds}
    names = list(feeds)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            rate = train_rate(training, feeds[name], turn * epochs, epochs if turn else 1)
            if turn:  # the first warms up
                rates[name].append(rate)
    start = time.perf_counter()
    next(feeds["streamed"](0, 0))
    first_batch = time.perf_counter() - start

    def ratio(name: str) -> float:
        return statistics.median(ours / bare for ours, bare in zip(rates[name], rates["memory"], strict=True))

    return {
        "samples_per_s_in_memory": statistics.median(rates["memory"]),
        **{f"{name}_ratio": ratio(name) for name in names if name != "memory"},
        **{f"{name}_feed_samples_per_s": feed_rate(feeds[name], 0) for name in names},
        "first_batch_s": first_batch,
        "peak_memory_mb": psutil.Process().memory_info().rss / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="small", choices=["tiny", "small", "lodopab"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of a turn")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        phantoms = {"kind": "phantom", "patients": PATIENTS[arguments.preset], "slices_per_patient": 16}
        experiment, workspace, card = prepare(Path(folder), arguments.preset, data={"source": phantoms})
        result = measure(experiment, workspace, card, arguments.rounds, arguments.epochs, Path(folder))
    for name, value in result.items():
        print(f"{name:>24}: {value:.3f}")
    if arguments.json:
        write_result(arguments.json, {"preset": arguments.preset, **result})


if __name__ == "__main__":
    main()
