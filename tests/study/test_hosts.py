"""A study over two hosts that share nothing but a network and a file system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hosts import Host, can_make_hosts, ray_over, two_hosts
from own_plugins import digest

from study.data.shards import from_table, read_shard
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.geometry import ParallelBeam
from taskct_core.schema import COMPLETE
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.fresh import FreshScanner

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not can_make_hosts(), reason="needs root and network namespaces"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Host, str, set[str]]]:
    """The head's host, the cluster's address, and the names of its hosts."""
    with two_hosts() as (head, worker), ray_over(head, worker, cpus=1) as address:
        yield head, address, {head.name, worker.name}


def experiment(small: Any, folder: Path, address: str) -> Path:
    values = small.experiment.model_dump(mode="json")
    values["study"] |= {
        "trials": 4,
        "max_concurrent_trials": 2,
        "space": {"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0}},
    }
    values |= {
        "output": str(folder),
        "dataset": str(small.workspace.dataset),
        "pretrained": str(small.workspace.task_network),
        "execution": {"executor": "actor", "address": address},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_trials_run_on_both_hosts_and_end_in_one_table(
    small: Any, tmp_path: Path, cluster: tuple[Host, str, set[str]]
) -> None:
    head, address, names = cluster
    path = experiment(small, tmp_path, address)
    done = head.run("taskct", "study", "run", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / small.experiment.name / "study"
    results = pd.read_parquet(study / StudyFolder.results)
    trials = results[results[schema.TRIAL] >= 0]
    assert trials[schema.TRIAL].nunique() == 4 and set(trials[schema.STATUS]) == {COMPLETE}
    assert set(trials["host"]) == names


def test_workers_of_one_trial_stream_fresh_slices_together_on_both_hosts(
    small: Any, tmp_path: Path, cluster: tuple[Host, str, set[str]]
) -> None:
    head, address, names = cluster
    seen = tmp_path / "seen"
    seen.mkdir()
    settings = {
        "execution.executor": "train",
        "execution.workers_per_trial": 2,
        "execution.cpus_per_worker": 0.9,
        "execution.data_path": "stream",
        "study.trials": 1,
        "study.max_concurrent_trials": 1,
        "trial.architecture": "own_plugins:Recording",
        "trial.architecture_parameters": json.dumps({"folder": str(seen)}),
    }
    words = (word for name, value in settings.items() for word in ("--set", f"{name}={value}"))
    done = head.run("taskct", "study", "run", str(experiment(small, tmp_path, address)), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / small.experiment.name / "study"
    results = pd.read_parquet(study / StudyFolder.results)
    samples = pd.read_parquet(study / StudyFolder.samples)
    trial = results[(results[schema.TRIAL] == 0) & (results[schema.SPLIT] == "validation")]
    assert list(trial[schema.EPOCH]) == list(range(1, small.experiment.trial.epochs + 1))
    scored = samples[(samples[schema.TRIAL] == 0) & (samples[schema.SPLIT] == "validation")]
    assert len(scored) == small.card.counts["validation"]["samples"]
    assert not scored.duplicated([schema.PATIENT, schema.SLICE_INDEX]).any()

    trained = {file.name: file.read_text().split() for file in seen.iterdir()}
    assert trained.keys() == names
    drawn = list(_drawn(small))
    assert set(drawn[0]).isdisjoint(drawn[1])
    for digests in trained.values():
        assert len(digests) == len(drawn) * len(drawn[0]) / 2
    for epoch, expected in enumerate(drawn):
        half = len(expected) // 2
        found = [d for digests in trained.values() for d in digests[epoch * half : (epoch + 1) * half]]
        assert sorted(found) == sorted(expected)  # each slice once, as it is drawn in this epoch


def _drawn(small: Any) -> Iterator[list[str]]:
    """Digests of the slices that each epoch trains with, drawn by the scanner from whole shards."""
    scanner = FreshScanner(
        ParallelBeam.from_dict(small.card.geometry), SimulationConfig.parse(small.card.simulation)
    )
    for epoch in range(1, small.experiment.trial.epochs + 1):
        drawn: list[str] = []
        for path in small.card.shard_paths(small.workspace.dataset, "train"):
            samples = scanner(from_table(read_shard(path)), seed=small.experiment.trial.seed, epoch=epoch)
            drawn += [digest(image) for image in samples[schema.FBP]]
        yield drawn


def test_without_the_clusters_token_nobody_joins(
    small: Any, tmp_path: Path, cluster: tuple[Host, str, set[str]]
) -> None:
    head, address, _ = cluster
    path = experiment(small, tmp_path, address)
    done = head.run("taskct", "study", "run", str(path), RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    assert f"{address} refused the token in RAY_AUTH_TOKEN" in done.stderr and "0" * 64 not in done.stderr
