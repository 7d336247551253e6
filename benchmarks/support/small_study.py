"""A small real experiment on phantoms, for benchmarks of what surrounds training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.config import ExperimentConfig
from study.data.dataset import DatasetCard, load_card, write_card
from study.data.feed import TableFeed
from study.data.patient_jobs import in_one_field, plan
from study.data.shards import read_shard
from study.data.simulate import dataset_card, simulate
from study.data.simulate_patient import measure_patient, simulate_patient
from study.experiment.pretrain import pretrain, train_task_network
from study.experiment.workspace import Workspace

SETTINGS: dict[str, Any] = {
    "name": "benchmark",
    "data": {"source": {"kind": "phantom", "patients": 8, "slices_per_patient": 8, "pixels": 128}},
    "task_network": {"epochs": 1, "architecture_parameters": {"width": 8}},
    "trial": {"epochs": 2, "architecture_parameters": {"width": 8}},
}


def prepare_here(
    folder: Path, preset: str, **sections: Any
) -> tuple[ExperimentConfig, Workspace, DatasetCard]:
    """What ``prepare`` makes, in this process and without Ray."""
    experiment, workspace = _of(folder, preset, sections)
    patients, jobs = plan(experiment, workspace.dataset)
    jobs = in_one_field(jobs, lambda jobs: map(measure_patient, jobs))
    write_card(workspace.dataset, dataset_card(experiment, patients, [simulate_patient(job) for job in jobs]))
    card = load_card(workspace.dataset)
    feeds = {split: table_feed(card, workspace.dataset, split) for split in card.shards if card.shards[split]}
    training = train_task_network(
        experiment.task_network,
        feeds,
        workspace.task_network,
        data_hash=card.data_hash,
        patients=card.patients,
        device="cpu",
        threads=1,
    )
    for _epoch in training:
        pass
    return experiment, workspace, card


def table_feed(card: DatasetCard, folder: Path, split: str) -> TableFeed:
    """A split in this process's memory."""
    return TableFeed([read_shard(path) for path in card.shard_paths(folder, split)])


def prepare(folder: Path, preset: str, **sections: Any) -> tuple[ExperimentConfig, Workspace, DatasetCard]:
    """Simulate the experiment and train its task network. Needs a Ray session."""
    experiment, workspace = _of(folder, preset, sections)
    card = simulate(experiment, workspace.dataset)
    list(pretrain(experiment, card, workspace))
    return experiment, workspace, card


def _of(folder: Path, preset: str, sections: dict[str, Any]) -> tuple[ExperimentConfig, Workspace]:
    values = SETTINGS | {"output": str(folder), "simulation": {"preset": preset}} | sections
    experiment = ExperimentConfig.parse(values)
    return experiment, Workspace.of(experiment)
