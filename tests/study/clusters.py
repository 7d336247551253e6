"""A Ray cluster of three nodes on this machine, one of which dies while it runs a trial.

As a script: ``python clusters.py FOLDER`` starts the nodes and a driver in a process of its own, kills the node
that runs trial 0, and prints what came of it as JSON. Everything listens on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DRIVER_RESOURCE = "on_demand"
NODE_FILE = "node"
_STALLED = "stalled"
_PATIENCE_SECONDS = 120.0
_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # A dead node is seen after two seconds instead of fifteen.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}


def main(folder: Path) -> dict[str, Any]:
    """Start the cluster and a driver, kill a node, and tell where trials ran."""
    os.environ.update(_ENVIRONMENT)
    # A folder of its own, so that no other Ray of this machine takes it for a cluster to join; sockets want it short.
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
    from ray.cluster_utils import Cluster

    here: dict[str, Any] = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "resources": {DRIVER_RESOURCE: 1}, **here}
    )
    preemptible = [
        cluster.add_node(num_cpus=1, resources={"preemptible": 1}, node_ip_address="127.0.0.1")
        for _ in range(2)
    ]
    driver = subprocess.Popen(
        [sys.executable, __file__, str(folder), cluster.address], stdout=subprocess.PIPE, text=True
    )
    stalled = folder / "preempted" / "trials" / "0000" / _STALLED
    _wait_for(stalled, driver)
    (doomed,) = [node for node in preemptible if node.node_id == stalled.read_text()]
    cluster.remove_node(doomed, allow_graceful=False)
    output, _ = driver.communicate(timeout=_PATIENCE_SECONDS)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert cluster.head_node is not None
    result |= {"head": cluster.head_node.node_id, "killed": doomed.node_id}
    cluster.shutdown()
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)
    return result


def _wait_for(path: Path, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (path.exists() and path.read_text()):
        if driver.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"trial 0 did not come to its second epoch; driver: {driver.poll()}")
        time.sleep(0.1)


def drive(folder: Path, address: str) -> dict[str, Any]:
    """Join the cluster and run two studies: one on preemptible nodes, one of coordinators."""
    import lookup_trainable as lookup
    import studies
    from ray import cloudpickle

    from study.cluster.nodes import alive_nodes, nodes_without, shared_folder_problems
    from study.cluster.ray_session import ray_session
    from study.config import ExecutionConfig
    from study.run import run_study
    from study.search.tune import TuneExecutor
    from study.trials.resources import tune_resources
    from taskct_core.contracts.folders import StudyFolder

    cloudpickle.register_pickle_by_value(lookup)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def run(name: str, trials: int, resources: dict[str, float], workers: int) -> dict[str, Any]:
        trainable = lookup.lookup_trainable(studies.EPOCHS, faults=dict.fromkeys(range(trials), _note_node))
        plan = studies.plan(studies.study_config(trials=trials, max_retries=1), folder / name)
        summary = run_study(plan, TuneExecutor(trainable, resources, max_concurrent=workers))
        nodes = [
            (StudyFolder(folder / name).trial(r.trial).path / NODE_FILE).read_text() for r in summary.trials
        ]
        return {"trials": [(r.status, r.last_epoch, r.retries) for r in summary.trials], "nodes": nodes}

    execution = ExecutionConfig(executor="train", workers_per_trial=2, driver_resource=DRIVER_RESOURCE)
    coordinated = tune_resources(execution)
    with ray_session(address):
        found = {
            "hosts": len(alive_nodes()),
            "shared": shared_folder_problems(folder, alive_nodes()),
            "blind": nodes_without(folder / "absent", alive_nodes()),
            "coordinators": run("coordinators", 1, coordinated, 1),
        }
        return found | {"preempted": run("preempted", 3, {"cpu": 1, "preemptible": 0.5}, 2)}


def _note_node(folder: Path, epoch: int) -> None:
    """Write down where a trial runs; trial 0 of the study that is preempted waits there to be killed."""
    import ray

    folder.mkdir(parents=True, exist_ok=True)
    node = ray.get_runtime_context().get_node_id()
    (folder / NODE_FILE).write_text(node)
    stalled = folder / _STALLED
    if epoch == 3 and folder.name == "0000" and folder.parts[-3] == "preempted" and not stalled.exists():
        stalled.write_text(node)
        time.sleep(_PATIENCE_SECONDS)


if __name__ == "__main__":
    print(
        json.dumps(main(Path(sys.argv[1])) if len(sys.argv) == 2 else drive(Path(sys.argv[1]), sys.argv[2]))
    )
