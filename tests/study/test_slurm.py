"""Slurm jobs: a stand-in ``sbatch`` runs the script as Slurm would, with its signal before the time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.experiment.slurm import submit_to_slurm
from study.run import load_study
from study.search.storage.records import read_records
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, ResourceError, StudyError
from taskct_core.schema import COMPLETE, RUNNING

SBATCH = """#!/bin/bash
echo "$@" >> {log}
echo "Submitted batch job $(wc -l < {log})"
"""
# What Slurm and Ray are told on two nodes, and taskct's exit codes: stopped by a signal, then done.
RECORDER = """#!/bin/bash
echo "$(basename "$0") $@" >> {log}
case "$*" in
  *secrets*) echo token ;;
  *study.cli*) trap 'exit 143' TERM; [ -e {log}.again ] && exit 0; touch {log}.again; while :; do sleep 0.1; done ;;
esac
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of the calls of an ``sbatch`` that only accepts jobs."""
    log = tmp_path / "sbatch.log"
    _command(tmp_path / "bin" / "sbatch", SBATCH.format(log=log), monkeypatch)
    return log


def _command(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    if str(path.parent) not in os.environ["PATH"]:
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


def _config(folder: Path, **settings: Any) -> Path:
    path = folder / "an experiment.yaml"  # whose name a shell would split
    path.write_text(yaml.safe_dump({"name": "night", "output": str(folder / "runs")} | settings))
    return path


def test_the_options_go_to_sbatch_and_into_the_script(tmp_path: Path, sbatch: Path) -> None:
    options = ["--time=04:00:00", "--comment=two words"]
    script, answer = submit_to_slurm(_config(tmp_path), ["study.trials=7"], options)
    assert (script.name, answer) == ("an experiment.sbatch", "Submitted batch job 1")
    assert sbatch.read_text() == f"--time=04:00:00 --comment=two words {script}\n"
    text = script.read_text()
    assert f"exec sbatch --time=04:00:00 '--comment=two words' '{script}'" in text
    assert f"run '{tmp_path / 'an experiment.yaml'}' --set study.trials=7" in text
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_a_job_of_several_nodes_starts_ray_on_all_and_submits_itself_again(
    tmp_path: Path, sbatch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.log"
    python = _command(tmp_path / "bin" / "python", RECORDER.format(log=log), monkeypatch)
    _command(tmp_path / "bin" / "srun", RECORDER.format(log=log), monkeypatch)
    monkeypatch.setattr("sys.executable", str(python))
    script, _ = submit_to_slurm(_config(tmp_path), [], ["--nodes=3"])
    allocation = {"SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_ID": "123", "SLURM_CPUS_PER_TASK": "8"}
    job = subprocess.Popen(["bash", script], env=os.environ | allocation)
    deadline = time.monotonic() + 60
    while not Path(f"{log}.again").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == 0  # of the sbatch that took its place
    assert len(sbatch.read_text().splitlines()) == 2
    head = f"{os.uname().nodename}:20123"
    calls = log.read_text()
    assert "ray.scripts.scripts start --block --disable-usage-stats --num-cpus 8 --num-gpus 0 --head" in calls
    assert (
        f"srun --nodes=2 --ntasks=2 --exclude={os.uname().nodename}" in calls and f"--address {head}" in calls
    )
    assert f"study.cluster.wait_for_nodes {head} 3" in calls and f"execution.address={head}" in calls
    assert subprocess.run(["bash", script], env=os.environ | allocation, check=False).returncode == 0
    assert len(sbatch.read_text().splitlines()) == 2  # it was done


@pytest.mark.parametrize(
    ("settings", "overrides", "error", "message"),
    [
        ({"execution": {"address": "auto"}}, [], ConfigError, "a Ray of its own"),
        ({}, ["study.storage=postgresql://me:secret@host/db"], ConfigError, "no password"),
        ({}, ["study.trials=0"], ConfigError, "trials"),
    ],
)
def test_what_cannot_be_a_job_is_refused(
    tmp_path: Path, sbatch: Path, settings: dict[str, Any], overrides: list[str], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        submit_to_slurm(_config(tmp_path, **settings), overrides, [])
    assert not sbatch.exists()


def test_no_sbatch_and_one_that_refuses_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(ResourceError, match="not on the PATH"):
        submit_to_slurm(_config(tmp_path), [], [])
    _command(tmp_path / "bin" / "sbatch", "#!/bin/bash\necho 'invalid partition' >&2; exit 1\n", monkeypatch)
    with pytest.raises(StudyError, match="invalid partition"):
        submit_to_slurm(_config(tmp_path), [], ["--partition=moon"])


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_goes_on_in_the_job_that_its_job_submits(small: Any, tmp_path: Path, sbatch: Path) -> None:
    """A signal in the middle of a study: one line, an exit code of its own, and nothing is reported as finished."""
    settings = small.experiment.model_dump(mode="json", exclude={"trust"})
    settings |= {"output": str(tmp_path), "dataset": str(small.workspace.dataset)}
    settings |= {"pretrained": str(small.workspace.task_network)}
    settings["trial"]["epochs"] = 20
    settings["execution"]["executor"] = "actor"
    settings["study"]["trials"] = 1
    script, _ = submit_to_slurm(_config(tmp_path, **settings), [], [])
    study = tmp_path / settings["name"] / "study"
    job = subprocess.Popen(["bash", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not StudyFolder(study).trial(0).epoch_log.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    out, err = job.communicate(timeout=120)
    assert (job.returncode, err) == (0, "Interrupted. The same command continues where it was.\n")
    assert "trial 0  starts" in out and "Next:" not in out and "Study:" not in out
    assert [record.status for record in read_records(load_study(study))] == [RUNNING]
    assert len(sbatch.read_text().splitlines()) == 2
    subprocess.run(["bash", script], check=True, timeout=400, capture_output=True)
    assert [record.status for record in read_records(load_study(study))] == [COMPLETE]
