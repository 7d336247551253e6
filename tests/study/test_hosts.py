"""A study over two hosts that share nothing but a network and a file system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hosts import Host, can_make_hosts, ray_over, two_hosts

from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import COMPLETE

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


def test_workers_of_one_trial_train_together_on_both_hosts(
    small: Any, tmp_path: Path, cluster: tuple[Host, str, set[str]]
) -> None:
    head, address, _ = cluster
    path = experiment(small, tmp_path, address)
    together = ["execution.executor=train", "execution.workers_per_trial=2", "execution.cpus_per_worker=0.9"]
    settings = [*together, "study.trials=1", "study.max_concurrent_trials=1"]
    done = head.run("taskct", "study", "run", str(path), *(word for s in settings for word in ("--set", s)))
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / small.experiment.name / "study"
    results = pd.read_parquet(study / StudyFolder.results)
    samples = pd.read_parquet(study / StudyFolder.samples)
    trial = results[(results[schema.TRIAL] == 0) & (results[schema.SPLIT] == "validation")]
    assert list(trial[schema.EPOCH]) == list(range(1, small.experiment.trial.epochs + 1))
    scored = samples[(samples[schema.TRIAL] == 0) & (samples[schema.SPLIT] == "validation")]
    assert len(scored) == small.card.counts["validation"]["samples"]
    assert not scored.duplicated([schema.PATIENT, schema.SLICE_INDEX]).any()


def test_without_the_clusters_token_nobody_joins(
    small: Any, tmp_path: Path, cluster: tuple[Host, str, set[str]]
) -> None:
    head, address, _ = cluster
    path = experiment(small, tmp_path, address)
    patience = ("--set", "execution.start_timeout=20")
    done = head.run("taskct", "study", "run", str(path), *patience, RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN" in done.stderr and "Traceback" not in done.stderr
