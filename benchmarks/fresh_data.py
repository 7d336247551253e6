"""What do fresh samples cost, and what do they give? Does the stream that feeds them mix, and keep up?

    python benchmarks/fresh_data.py
    python benchmarks/fresh_data.py --rounds 5 --json result.json   # flat keys
    python benchmarks/fresh_data.py --only gain --steps 600

``fresh_over_stored``, ``fresh_over_stored_lodopab``: samples a second that the U-Net trains on where each is scanned
anew, over stored ones from memory, at 128 and 362 pixels; a thread of the training process scans. With ``_ray`` the
scans are Ray Data's, on one CPU. Medians over turns taken one after another, without the start of the first.
``psnr_gain_db``, ``dice_gain``: fresh against stored samples after equal steps on 4 phantom patients, of the weights
that validation on 4 others prefers; means over seeds.
``shuffle_correlation``, ``patients_per_batch_share``, ``stream_over_pyarrow``, ``memory_growth_mb``: see
``support/stream_quality.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import torch
from bench_record import write_result
from small_study import SETTINGS, prepare_here, table_feed
from stream_quality import measure_stream

from study.cluster.ray_session import ray_session
from study.data.batches import Share
from study.data.feed import Feed
from study.data.fresh_samples import FreshSamples
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from taskct_core import schema
from taskct_core.contracts.rows import Batch
from taskct_core.geometry import ParallelBeam
from taskct_core.metrics import summarise
from taskct_core.simulation.config import SimulationConfig
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.trial import Training, build_training

WAYS = ("stored", "fresh", "fresh_ray")
SAMPLES_A_TURN = {"small": 96, "lodopab": 20}
SCORINGS = 6  # of a training
BATCH_SIZE = 8


class Setting:
    """Phantoms, a task network, and the feeds of their train split."""

    def __init__(
        self, folder: Path, preset: str, patients: int, slices: int, epochs: int, **simulation: Any
    ) -> None:
        source = {"kind": "phantom", "patients": patients, "slices_per_patient": slices, "pixels": 256}
        _experiment, workspace, self.card = prepare_here(
            folder,
            preset,
            data={"source": source, "split": {"train": 0.5, "validation": 0.5, "test": 0.0}},
            simulation={"preset": preset, **simulation},
            task_network=SETTINGS["task_network"] | {"epochs": epochs, "window_hu": [-20, 200]},
        )
        self.network, _ = load_task_network(workspace.task_network)
        shards = SplitShards.of(self.card, workspace.dataset, "train")
        self.geometry = ParallelBeam.from_dict(self.card.geometry)
        fresh = FreshSamples(self.geometry, SimulationConfig.parse(self.card.simulation))
        self.validation = table_feed(self.card, workspace.dataset, "validation")
        self.train: dict[str, Feed] = {
            "stored": table_feed(self.card, workspace.dataset, "train"),
            "fresh": StreamFeed(shards, fresh),
            "fresh_ray": StreamFeed(shards, replace(fresh, cpus=1)),
        }

    def training(self, **changes: Any) -> Training:
        """The U-Net of the default width, untrained."""
        config = TrialConfig(mode="reconstruction_only", alpha=0.0, batch_size=BATCH_SIZE, **changes)
        return build_training(config, geometry=self.geometry, task_network=self.network)


def throughput(folder: Path, preset: str, rounds: int) -> dict[str, float]:
    """Samples a second on stored samples, and the shares of it that the fresh ones keep."""
    samples = SAMPLES_A_TURN[preset]
    setting = Setting(folder / preset, preset, patients=4, slices=samples // 2, epochs=1)
    training = setting.training(epochs=3 * (rounds + 1))
    streams = {way: _endless(setting.train[way], seed=0, epochs=rounds + 2) for way in WAYS}
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in WAYS[turn % len(WAYS) :] + WAYS[: turn % len(WAYS)]:
            start = time.perf_counter()
            training.train_epoch(islice(streams[way], samples // BATCH_SIZE))
            if turn:  # the first starts Ray's processes and fills the read-ahead
                rates[way].append(1 / (time.perf_counter() - start))
    for stream in streams.values():
        stream.close()
    shares = {way: float(np.median(np.divide(rates[way], rates["stored"]))) for way in WAYS}
    suffix = "" if preset == "small" else f"_{preset}"
    return {
        f"samples_per_s_stored{suffix}": float(np.median(rates["stored"]))
        * (samples // BATCH_SIZE)
        * BATCH_SIZE,
        f"fresh_over_stored{suffix}": shares["fresh"],
        f"fresh_over_stored_ray{suffix}": shares["fresh_ray"],
    }


def _endless(feed: Feed, seed: int, epochs: int) -> Generator[Batch, None, None]:
    """Epoch after epoch."""
    for epoch in range(1, 1 + epochs):
        yield from feed.shuffled(BATCH_SIZE, seed=seed, epoch=epoch, share=Share(), more=epochs - epoch)


def gain(folder: Path, preset: str, steps: int, seeds: int) -> dict[str, float]:
    """Scores after equal steps on fresh and on stored samples."""
    setting = Setting(folder / "gain", preset, patients=8, slices=6, epochs=12, photons_per_ray=1024.0)
    scores = {way: [_trained(setting, way, steps, seed) for seed in range(seeds)] for way in WAYS[:2]}

    def mean(way: str, column: str) -> float:
        return float(np.mean([row[column] for row in scores[way]]))

    psnr, dice = schema.PRIMARY_PSNR, schema.PRIMARY_DICE
    return {
        "gain_steps": float(steps),
        "psnr_stored": mean("stored", psnr),
        "psnr_gain_db": mean("fresh", psnr) - mean("stored", psnr),
        "dice_stored": mean("stored", dice),
        "dice_gain": mean("fresh", dice) - mean("stored", dice),
    }


def _trained(setting: Setting, way: str, steps: int, seed: int) -> dict[str, float]:
    """Validation scores of the weights that validation prefers, scored some times on the way."""
    training = setting.training(epochs=SCORINGS, seed=seed)
    batches = _endless(setting.train[way], seed, epochs=steps)
    for _ in range(SCORINGS):
        training.train_epoch(islice(batches, steps // SCORINGS))
        rows = training.evaluate(setting.validation.ordered(16, share=Share()))
        training.keep(rows, summarise(rows))
    batches.close()
    scores = summarise(training.kept.rows)
    print(f"{way}, seed {seed}: {scores[schema.PRIMARY_PSNR]:.2f} dB", file=sys.stderr, flush=True)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="turns of each way to feed, epochs of the stream"
    )
    parser.add_argument("--samples", type=int, default=11_500, help="of the stream's epoch")
    parser.add_argument("--steps", type=int, default=600, help="of each training for the gain")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gain-preset", default="tiny", choices=["tiny", "small"])
    parser.add_argument(
        "--only", choices=["throughput", "lodopab", "gain", "stream"], help="one of its parts"
    )
    parser.add_argument(
        "--json", type=Path, help="write the result here; with --only, beside the other parts"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts: dict[str, Callable[[Path], dict[str, float]]] = {
        "throughput": lambda folder: throughput(folder, "small", arguments.rounds),
        "lodopab": lambda folder: throughput(folder, "lodopab", arguments.rounds),
        "gain": lambda folder: gain(folder, arguments.gain_preset, arguments.steps, arguments.seeds),
        "stream": lambda folder: measure_stream(folder, "small", arguments.samples, arguments.rounds),
    }
    result: dict[str, Any] = {}
    if arguments.only and arguments.json and arguments.json.is_file():
        result = json.loads(arguments.json.read_text(encoding="utf-8"))  # the other parts' results stay
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if arguments.only != "gain":
            stack.enter_context(ray_session(num_cpus=2))
        for name, part in parts.items():
            if arguments.only in (None, name):
                found = part(Path(folder) / name)
                for key, value in found.items():
                    print(f"{key:>28}: {value:.4g}", flush=True)
                result |= found
                if arguments.json:  # part by part: what follows takes long
                    write_result(arguments.json, result)


if __name__ == "__main__":
    main()
