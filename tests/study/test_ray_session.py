"""A local Ray is reached from this machine alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
from study.cluster.ray_session import ray_session, session_is_open

assert not session_is_open()
with ray_session(num_cpus=1):
    import ray

    assert session_is_open()
    with ray_session():  # within a session: the same
        pass
    assert session_is_open()
    print([node["NodeManagerAddress"] for node in ray.nodes()])
assert not session_is_open()
"""


@pytest.mark.ray
def test_the_node_has_a_loopback_address() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "['127.0.0.1']"


def test_what_runs_before_a_session_does_not_import_ray() -> None:
    """Ray reads its environment when it is imported, so an earlier import would undo the loopback."""
    script = """
import sys
import study.trials.executors, study.experiment.inputs, study.experiment.preflight, study.experiment.pretrain, study.data.simulate, study.trials.single, study.cli.stages
assert "ray" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
