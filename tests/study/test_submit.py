"""Experiments submitted as jobs to a real Ray head on loopback that wants a token, with a bucket as output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from heads import Head, ray_head

from study.experiment.submit import submit
from study.run import load_study
from study.scoring.evaluate import evaluate_study
from study.search.storage.records import read_records
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, ResourceError
from taskct_core.schema import COMPLETE, PRIMARY_DICE

NOBODY = "http://127.0.0.1:1"
DRIVER_RESOURCE = "on_demand"
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"source": {"patients": 3, "slices_per_patient": 3, "pixels": 64}, "rows_per_shard": 2},
    "simulation": {"preset": "tiny", "num_angles": 16, "photons_per_ray": 2000.0},
    "task_network": {"epochs": 1, "architecture_parameters": {"width": 4}},
    "trial": {"epochs": 2, "architecture_parameters": {"width": 4}, "batch_size": 4},
    "study": {"trials": 1, "space": {"alpha": {"kind": "choice", "values": [0.0, 0.9]}}},
    # Ray Data has a whole CPU to stream with.
    "execution": {"executor": "train", "cpus_per_worker": 0.9, "driver_resource": DRIVER_RESOURCE},
}


@pytest.fixture(scope="module")
def head(s3_bucket: str) -> Iterator[Head]:
    with ray_head({DRIVER_RESOURCE: 1}) as running:
        yield running


def write(folder: Path, **settings: Any) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(TINY | {"output": str(folder / "runs")} | settings), encoding="utf-8")
    return path


def test_folders_that_the_job_would_lose_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, output="runs", dataset="s3://bucket/data")
    with pytest.raises(ConfigError, match="output: runs") as error:
        submit(path, ["data.source.path=scans"], NOBODY)
    assert "data.source.path: scans" in str(error.value) and "dataset" not in str(error.value)


def test_a_configuration_outside_of_the_working_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ConfigError, match="travels to the cluster"):
        submit(write(tmp_path), [], NOBODY, tmp_path / "elsewhere")


def test_an_address_that_nobody_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="running Ray cluster's dashboard"):
        submit(write(tmp_path), [], NOBODY)


@pytest.mark.ray
def test_a_wrong_token_is_refused(tmp_path: Path, head: Head) -> None:
    command = ("study", "submit", str(write(tmp_path)), "--address", head.dashboard)
    done = head.taskct(*command, RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    assert "wants its token" in done.stderr


@pytest.mark.ray
def test_a_jobs_failure_is_shown(tmp_path: Path, head: Head) -> None:
    absent = str(tmp_path / "absent")
    path = write(tmp_path, data={"source": {"kind": "lits", "path": absent}})
    done = head.taskct(
        "study", "submit", str(path), "--address", head.dashboard, "--working-dir", str(tmp_path)
    )
    assert done.returncode == 2
    assert absent in done.stdout and "FAILED" in done.stderr


@pytest.mark.ray
def test_a_submitted_experiment_reads_and_writes_a_bucket(tmp_path: Path, head: Head, s3_bucket: str) -> None:
    study = TINY["study"] | {"storage": f"sqlite:///{tmp_path}/study.db"}
    path = write(tmp_path, output=f"{s3_bucket}/runs", study=study)
    stream = ("--set", "execution.data_path=stream")
    done = head.taskct("study", "submit", str(path), "--address", head.dashboard, *stream)
    assert done.returncode == 0, done.stdout + done.stderr

    folder = open_folder(f"{s3_bucket}/runs/tiny/study")
    (record,) = read_records(load_study(folder))
    assert record.status == COMPLETE
    trial = StudyFolder(folder).trial(record.trial)
    assert all(file.is_file() for file in (trial.checkpoint, trial.config, trial.final))
    assert PRIMARY_DICE in (folder / StudyFolder.report).read_text(encoding="utf-8")
    assert not (tmp_path / "runs").exists()
    assert len(evaluate_study(folder, trials=[0])) == 3
