"""Small whole folders of every kind that taskct reads, made by taskct, from which mutated ones are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from abdomen import write_dicom_patient, write_lits
from studies import run_here, study_config
from study_factory import Recipe, write_study

from study.config import ExperimentConfig, recorded
from study.data.dataset import DatasetCard, ShardEntry, hash_of, write_card
from study.data.shards import to_table, write_shard
from study.trials import epoch_log
from study.trials.task import TrialTask
from study.trials.trial_config import write_trial_config
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import write_rows
from taskct_core.contracts.tables import write_table
from taskct_core.geometry import PRESETS
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.task_networks.storage import save_task_network

REPOSITORY = Path(__file__).parent.parent.parent


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def dataset(folder: Path) -> dict[str, bytes]:
    """Two patients in two splits, 16 x 16 pixels, without a scan."""
    draw = np.random.default_rng(0)
    experiment = ExperimentConfig()
    shards: dict[str, list[ShardEntry]] = {split: [] for split in S.SPLITS}
    for split, rows in (("train", 3), ("validation", 2)):
        path = f"{split}/p-{split}-00000.parquet"
        samples = {
            S.PATIENT: [f"p-{split}"] * rows,
            S.SLICE_INDEX: list(range(rows)),
            S.FULL_DOSE: draw.random((rows, 16, 16), np.float32),
            S.FBP: draw.random((rows, 16, 16), np.float32),
            S.LABELS: draw.integers(0, 3, (rows, 16, 16), np.uint8),
            S.PHOTONS_PER_RAY: [4096.0] * rows,
            S.PIXEL_SPACING_MM: [0.7] * rows,
        }
        sha256 = write_shard(folder / path, to_table(samples, "simulation"))
        shards[split].append(ShardEntry(path=path, patient=f"p-{split}", rows=rows, sha256=sha256))
    counts = {split: {"samples": 3, "with_liver": 3, "with_tumour": 2} for split in S.SPLITS}
    card = DatasetCard(
        geometry=PRESETS["tiny"].to_dict(),
        simulation=experiment.simulation.model_dump(mode="json"),
        source=experiment.data.model_dump(mode="json"),
        patients={split: [shard.patient for shard in shards[split]] for split in S.SPLITS},
        counts=counts,
        image_shape=(16, 16),
        has_sinogram=False,
        dose={"photons_per_ray": 4096.0},
        shards=shards,
        data_hash=hash_of(shards),
        versions={"taskct": "0"},
    )
    write_card(folder, card)
    return files_of(folder)


def searched(folder: Path) -> dict[str, bytes]:
    """A study's folder as a search leaves it: storage, journal, epoch logs, study.json, and each trial's files."""
    config = study_config(trials=3, pruner={"name": "pareto_asha", "reduction_factor": 2})
    records = run_here(config, folder).trials
    experiment = ExperimentConfig.parse({"study": config.model_dump()})
    card = {
        "name": "searched",
        "objectives": config.objectives,
        "directions": dict.fromkeys(config.objectives, "maximize"),
        "config": recorded(experiment),
        "dataset": {"data_hash": "data-1", "has_bases": False},
        "task_network": {"content_hash": "network-1"},
    }
    study = StudyFolder(folder)
    study.card.write_text(json.dumps(card, indent=2))
    for record in records:
        trial = study.trial(record.trial)
        proposal = {"trial": record.trial, "folder": str(trial.path), "values": record.values}
        write_trial_config(trial, TrialTask.from_search(experiment.trial, proposal).config)
        rows = epoch_log.read(trial)[-1:]
        write_rows(trial.final, [rows[0] | {S.SPLIT: split} for split in ("validation", "test")])
        write_table(trial.samples, pa.Table.from_pylist(_slices(record.trial)))
    write_rows(study.references, [{S.TRIAL: -1, S.METHOD: "full_dose", S.SPLIT: "test", S.EPOCH: 0}])
    write_table(study.reference_samples, pa.Table.from_pylist(_slices(-1)))
    return {name: content for name, content in files_of(folder).items() if "tfevents" not in name}


def _slices(trial: int) -> list[dict[str, Any]]:
    known = {S.TRIAL: trial, S.METHOD: "task_adaptive", S.SPLIT: "test", S.PATIENT: "p"}
    return [known | {S.SLICE_INDEX: number, "psnr_lodopab": 30.0 + number} for number in range(3)]


def reported(folder: Path) -> dict[str, bytes]:
    """A study's folder as reports read it."""
    write_study(folder, Recipe(trials=3, patients=2, slices=2, epochs=2, architectures=("unet",)))
    return files_of(folder)


def task_network(folder: Path) -> dict[str, bytes]:
    config = TaskNetworkConfig.parse({"architecture_parameters": {"width": 2}})
    network = TaskNetwork.from_config(config)
    save_task_network(
        network, folder, data_hash="data", scores={S.PRIMARY_DICE: 0.5}, patients={"train": ["p"]}
    )
    return files_of(folder)


def volumes(folder: Path, kind: str) -> dict[str, bytes]:
    """Patients as ``kind`` (nii, nii.gz, dicom) has them."""
    if kind == "dicom":
        write_dicom_patient(folder / "p")
    else:
        write_lits(folder, ending=f".{kind}")
    return files_of(folder)


def experiments() -> dict[str, bytes]:
    """The repository's configurations."""
    paths = [*sorted((REPOSITORY / "configs").glob("*.yaml")), REPOSITORY / "study" / "quickstart.yaml"]
    return {path.name: path.read_bytes() for path in paths}


SPACE = b"""
trial: {mixing: additive}
study:
  space:
    alpha: {kind: logit, low: 0.05, high: 0.995, ends: [0, 1]}
    learning_rate: {kind: log, low: 1.0e-4, high: 1.0e-2}
    batch_size: {kind: int, low: 2, high: 16, log: true}
    image_loss: {kind: choice, values: [mse, l1, 0.5 * mse + 0.5 * l1]}
    architecture:
      kind: choice
      values:
        unet: {width: {kind: int, low: 8, high: 32}}
        dncnn: {}
"""
