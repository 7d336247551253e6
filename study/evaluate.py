"""Scores trained trials and references on any dataset, without training: another dose, another patient.

Appends to ``evaluations.parquet`` in the study folder: one row a method and split, with the hash and dose of
the data it was scored on, so that results on different data never pass for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from study.dataset import DatasetCard, from_table, load_card, verify_shards
from study.files import write_atomically
from study.provenance import provenance
from study.trial import CHECKPOINT_FILE, read_trial_config
from taskct_core import schema
from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import ParallelBeam
from taskct_core.metrics import summarise
from taskct_core.task_networks import load_task_network
from taskct_core.training import build_training, evaluate_images
from study.feed import Batch, to_batch
from study.references import IMAGES
from study.search.records import trial_folder

EVALUATIONS_FILE = "evaluations.parquet"
DATASET = "dataset"  # folder that a row was scored on
_BATCH_SIZE = 16
Row = dict[str, Any]


def evaluate_on(
    study_folder: Path, task_network: Path, dataset: Path, trials: Sequence[int], split: str
) -> pd.DataFrame:
    """Score trials, the full-dose image and plain FBP on one split of a dataset.

    Args:
        study_folder: that the trials belong to.
        task_network: folder of the network that judges.
        dataset: folder of the data to score on.
        trials: numbers of trained trials.
        split: of the dataset.

    Returns:
        The new rows, which are also appended to the study's evaluations; rows of the same trial, data and
        task network are replaced.

    Raises:
        ConfigError, DataError: if the split, a trial, the dataset or the task network is not valid.
    """
    card = _checked(dataset, split)
    network, network_card = load_task_network(task_network)
    shared = {
        schema.SPLIT: split,
        schema.DATA_HASH: card.data_hash,
        schema.TASK_NETWORK_HASH: network_card.content_hash,
        schema.METRIC_POLICY: schema.POLICY_TEXT,
        DATASET: str(dataset),
        "simulation_photons_per_ray": str(card.simulation["photons_per_ray"]),
        "simulation_preset": card.simulation["preset"],
    } | provenance("cpu")
    rows = []
    for number, (method, column) in enumerate(IMAGES.items(), start=1):
        scored = evaluate_images(network, _batches(card, dataset, split), column)
        rows.append({schema.TRIAL: -number, schema.METHOD: method} | shared | summarise(scored))
    for trial in trials:
        folder = trial_folder(study_folder, trial)
        config = read_trial_config(folder)
        training = build_training(config, geometry=ParallelBeam.from_dict(card.geometry), task_network=network)
        training.load_state_dict(_trained_state(folder))
        scored = training.evaluate(_batches(card, dataset, split))
        rows.append({schema.TRIAL: trial, schema.METHOD: config.mode} | shared | summarise(scored))
    frame = pd.DataFrame(rows)
    _append(study_folder / EVALUATIONS_FILE, frame)
    return frame


def _checked(dataset: Path, split: str) -> DatasetCard:
    if split not in schema.SPLITS:
        raise ConfigError(f"--split must be one of {', '.join(schema.SPLITS)}", repr(split), "Correct it.")
    card = load_card(dataset)
    verify_shards(dataset, card)
    if not card.shards[split]:
        filled = ", ".join(name for name in schema.SPLITS if card.shards[name])
        raise DataError(
            "the split to score must hold samples", f"none in {split} of {dataset}", f"It has samples in {filled}."
        )
    return card


def _batches(card: DatasetCard, dataset: Path, split: str) -> Iterator[Batch]:
    for path in card.shard_paths(dataset, split):
        for rows in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_SIZE):
            yield to_batch(from_table(pa.Table.from_batches([rows])))


def _trained_state(folder: Path) -> dict[str, Any]:
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise DataError(
            "a trial must have a checkpoint to be scored",
            f"none in {folder}",
            "It failed before its first epoch, or has not finished it yet.",
        )
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["training"]
    return state


def _append(path: Path, new: pd.DataFrame) -> None:
    identity = [schema.TRIAL, schema.SPLIT, schema.DATA_HASH, schema.TASK_NETWORK_HASH]
    if path.is_file():
        new = pd.concat([pd.read_parquet(path), new], ignore_index=True).drop_duplicates(identity, keep="last")
    write_atomically(path, lambda temporary: new.to_parquet(temporary, index=False))
