"""A small real experiment on phantoms, for benchmarks of what surrounds training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.config import ExperimentConfig
from study.data.dataset import DatasetCard
from study.data.simulate import simulate
from study.experiment.pretrain import pretrain
from study.experiment.workspace import Workspace

SETTINGS: dict[str, Any] = {
    "name": "benchmark",
    "data": {"source": {"kind": "phantom", "patients": 8, "slices_per_patient": 8, "pixels": 128}},
    "task_network": {"epochs": 1, "architecture_parameters": {"width": 8}},
    "trial": {"epochs": 2, "architecture_parameters": {"width": 8}},
}


def prepare(folder: Path, preset: str, **sections: Any) -> tuple[ExperimentConfig, Workspace, DatasetCard]:
    """Simulate the experiment and train its task network. Needs a Ray session."""
    values = SETTINGS | {"output": str(folder), "simulation": {"preset": preset}} | sections
    experiment = ExperimentConfig.parse(values)
    workspace = Workspace.of(experiment)
    card = simulate(experiment, workspace.dataset)
    list(pretrain(experiment, card, workspace))
    return experiment, workspace, card
