"""Studies over several Ray nodes: joined by address, one node dies, coordinators stay where they are safe."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import clusters
import pytest
from studies import EPOCHS

from study.config import ExperimentConfig
from study.experiment.preflight import placement_problems, resource_problems
from taskct_core.schema import COMPLETE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a cluster of three nodes, one of which was killed, made of two studies."""
    folder = tmp_path_factory.mktemp("cluster")
    command = [sys.executable, clusters.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.ray
def test_trials_of_a_killed_node_continue_on_another(found: dict[str, Any]) -> None:
    preempted = found["preempted"]
    assert [status for status, _, _ in preempted["trials"]] == [COMPLETE] * 3
    assert [epochs for _, epochs, _ in preempted["trials"]] == [EPOCHS] * 3
    assert preempted["trials"][0][2] == 1  # started again once
    assert preempted["nodes"][0] != found["killed"]
    assert found["head"] not in preempted["nodes"]


@pytest.mark.ray
def test_coordinators_run_on_nodes_of_the_driver_resource(found: dict[str, Any]) -> None:
    assert found["hosts"] == 3
    assert found["coordinators"] == {"trials": [[COMPLETE, EPOCHS, 0]], "nodes": [found["head"]]}


@pytest.mark.ray
def test_a_folder_that_nodes_do_not_see_is_found(found: dict[str, Any]) -> None:
    assert found["shared"] == []
    assert len(found["blind"]) == 1  # three nodes of one host name


def test_resources_are_looked_for_on_single_nodes() -> None:
    experiment = ExperimentConfig.parse({"execution": {"cpus_per_worker": 4, "driver_resource": "safe"}})
    assert placement_problems(experiment, [{"CPU": 2.0}, {"CPU": 8.0}]) == []
    (problem,) = placement_problems(experiment, [{"CPU": 2.0}, {"CPU": 3.0}])
    assert "4 CPU on one node" in problem
    several = {"workers_per_trial": 2, "driver_resource": "safe"}  # which have a coordinator
    experiment = ExperimentConfig.parse({"execution": several})
    (problem,) = resource_problems(experiment, {"CPU": 8.0})
    assert "0.001 safe, the cluster has 0" in problem


def test_an_address_that_nobody_answers_is_refused() -> None:
    script = "from study.cluster.ray_session import ray_session\nwith ray_session('127.0.0.1:1'):\n    pass"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ResourceError: execution.address must be that of a running Ray cluster" in done.stderr
