"""The templates in deploy/ parse, and every command, key and resource in them is real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.core
import yaml

from study.cli.app import app
from study.config import ExperimentConfig, load_experiment
from study.trials.resources import driver_resources

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def filled(name: str) -> str:
    """A template with its placeholders filled in."""
    return re.sub(r"<[a-z-]+>", "mine", (DEPLOY / name).read_text(encoding="utf-8"))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(filled("experiment.yaml"), encoding="utf-8")
    return path


def parse_command(line: str) -> dict[str, Any]:
    """The options that ``taskct`` would see; click raises for a command or an option that is not there."""
    command, arguments = typer.main.get_command(app), shlex.split(line)[1:]
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[arguments.pop(0)]
    return command.make_context("taskct", arguments).params


def test_the_rayjob_runs_the_experiment_on_nodes_that_stay(experiment: Path) -> None:
    (job,) = yaml.safe_load_all(filled("rayjob.yaml"))
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    entrypoint = spec["entrypoint"].replace("/experiment/experiment.yaml", str(experiment))
    options = parse_command(entrypoint)
    loaded = load_experiment(options["config"], list(options["overrides"]))
    assert loaded.execution.address == "auto"
    assert yaml.safe_load(spec["entrypointResources"]) == driver_resources(loaded.execution)
    head = cluster["headGroupSpec"]["rayStartParams"]
    assert loaded.execution.driver_resource in yaml.safe_load(yaml.safe_load(head["resources"]))
    (workers,) = cluster["workerGroupSpecs"]
    assert "resources" not in workers["rayStartParams"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert int(limits["cpu"]) >= loaded.execution.cpus_per_worker and int(limits["nvidia.com/gpu"]) == 1
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["enableInTreeAutoscaling"] is loaded.execution.autoscaling is True


def test_the_launchers_head_has_the_resource_and_its_ray_wants_a_token(experiment: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = yaml.safe_load(filled("cluster-launcher.yaml"))
    loaded = load_experiment(experiment)
    nodes = cluster["available_node_types"]
    assert loaded.execution.driver_resource in nodes[cluster["head_node_type"]]["resources"]
    assert loaded.execution.driver_resource not in nodes["preemptible_gpu"]["resources"]
    starts = [line for kind in ("head", "worker") for line in cluster[f"{kind}_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    validate_config(prepare_config(cluster))


def test_versions_are_those_that_are_tested() -> None:
    (ray,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    (job,) = yaml.safe_load_all(filled("rayjob.yaml"))
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray
    assert f"rayproject/ray:{ray}-" in (DEPLOY / "Dockerfile").read_text()


def test_the_pages_commands_and_keys_are_real(experiment: Path) -> None:
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    lines = re.findall(r"^taskct .*$", page, flags=re.MULTILINE)
    assert lines
    for line in lines:
        parse_command(line.replace("experiment.yaml", str(experiment)))
    for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL):
        ExperimentConfig.parse(yaml.safe_load(block))
    for path in re.findall(r"deploy/[\w.-]+", page):
        assert (ROOT / path).is_file()
