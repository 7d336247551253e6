"""Nothing learns from whom it is scored on: not by name, not by pixels, not through what is tuned."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from study.data.feed import TableFeed
from study.data.leakage import check_no_leakage, check_no_twins
from study.data.shards import from_table, to_table
from study.experiment.pretrain import train_task_network
from study.trials.inputs import Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import TrialFolder
from taskct_core.errors import DataError
from taskct_core.task_networks import load_task_network_card


def tables(small: Any, split: str) -> list[pa.Table]:
    return [pq.read_table(path) for path in small.card.shard_paths(small.workspace.dataset, split)]


def garbled(small: Any, split: str) -> TableFeed:
    """The split with other images and labels."""
    rng = np.random.default_rng(0)
    changed = []
    for table in tables(small, split):
        columns = from_table(table)
        for name in (schema.FULL_DOSE, schema.FBP):
            columns[name] = rng.random(columns[name].shape, np.float32)
        columns[schema.LABELS] = rng.integers(0, 3, columns[schema.LABELS].shape).astype(np.uint8)
        changed.append(to_table(columns, simulation_hash=""))
    return TableFeed(changed)


def test_splits_share_no_patient_and_no_slice(small: Any) -> None:
    hashes = {
        split: {
            hashlib.sha256(image.tobytes()).hexdigest()
            for table in tables(small, split)
            for image in from_table(table)[schema.FULL_DOSE]
        }
        for split in schema.SPLITS
    }
    for first, second in combinations(schema.SPLITS, 2):
        assert not set(small.card.patients[first]) & set(small.card.patients[second])
        assert not hashes[first] & hashes[second]
    assert all(hashes.values())


def trained_weights(small: Any, folder: Path, feeds: dict[str, Any]) -> dict[str, torch.Tensor]:
    inputs = small.trial_inputs(feeds=feeds)
    folder.mkdir()
    run_trial(small.experiment.trial, folder, inputs, Worker(), lambda row: None)
    state: dict[str, torch.Tensor] = torch.load(folder / TrialFolder.checkpoint, weights_only=True)[
        "training"
    ]["reconstructor"]
    return state


def test_a_trial_learns_nothing_from_validation_and_test(small: Any, tmp_path: Path) -> None:
    real = {split: small.feed(split) for split in schema.SPLITS}
    expected = trained_weights(small, tmp_path / "real", real)
    scored = {split: garbled(small, split) for split in ("validation", "test")}
    weights = trained_weights(small, tmp_path / "garbled", real | scored)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    other = trained_weights(small, tmp_path / "other", real | {"train": garbled(small, "train")})
    assert not all(torch.equal(other[name], expected[name]) for name in expected)


def test_the_task_network_learns_nothing_from_test(small: Any, tmp_path: Path) -> None:
    feeds = {split: small.feed(split) for split in ("train", "validation")} | {"test": garbled(small, "test")}
    list(
        train_task_network(
            small.experiment.task_network,
            feeds,
            tmp_path,
            data_hash="",
            patients=small.card.patients,
            device="cpu",
            threads=1,
        )
    )
    again, first = load_task_network_card(tmp_path), load_task_network_card(small.workspace.task_network)
    assert again.content_hash == first.content_hash
    assert first.patients == small.card.patients


@pytest.mark.parametrize(
    ("scored", "leaks"),
    [
        ({"validation": ["c"], "test": ["d"]}, ""),
        ({"train": ["a"], "test": ["d"]}, ""),
        ({"validation": ["b"]}, "b in validation"),
        ({"test": ["a", "d"]}, "a in test"),
        ({"test": ["c"]}, "c in test"),
    ],
)
def test_patients_that_were_learned_from_are_not_scored(scored: dict[str, list[str]], leaks: str) -> None:
    learned = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    if not leaks:
        check_no_leakage(scored, learned, "the network")
        return
    with pytest.raises(DataError, match=leaks):
        check_no_leakage(scored, learned, "the network")
    check_no_leakage(scored, {}, "a network from elsewhere")


def test_the_same_voxels_under_two_names_are_refused_in_two_splits() -> None:
    def manifest(patient: str, split: str, voxels: str) -> dict[str, str]:
        return {"source_patient": patient, "split": split, "voxels": voxels}

    check_no_twins([manifest("a", "train", "1"), manifest("b", "train", "1"), manifest("c", "test", "2")])
    with pytest.raises(DataError, match=r"a \(train\) and b \(test\) have the same voxels"):
        check_no_twins([manifest("a", "train", "1"), manifest("b", "test", "1")])
