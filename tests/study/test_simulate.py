"""The simulation job: same bytes whatever the parallelism, continues after a kill, keeps what is there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from study.config import ExperimentConfig, trust_of
from study.data.dataset import load_card
from study.data.patient_jobs import in_one_field, plan
from study.data.simulate import dataset_card, simulate
from study.data.simulate_patient import PatientJob, measure_patient, simulate_patient
from study.data.simulation_plan import plan_simulation
from taskct_core import schema
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.errors import ConfigError, DataError, StudyError
from taskct_core.geometry import OdlScan
from taskct_core.projection import RayTransform
from taskct_core.registry import BUILT_IN_ONLY
from taskct_core.simulation.config import SimulationConfig
from taskct_core.volumes.body import MARGIN_MM


def _with(experiment: ExperimentConfig, **changes: object) -> ExperimentConfig:
    return ExperimentConfig.parse(experiment.model_dump() | changes)


def _jobs(experiment: ExperimentConfig, folder: Path) -> list[PatientJob]:
    return in_one_field(plan(experiment, folder)[1], lambda jobs: map(measure_patient, jobs))


@pytest.mark.ray
def test_ray_job_writes_the_bytes_that_one_process_writes(small, local_ray: None, tmp_path: Path) -> None:
    seen = []
    card = simulate(small.experiment, tmp_path, lambda patient, samples: seen.append((patient, samples)))
    assert card.data_hash == small.card.data_hash
    assert sorted(seen) == sorted((name, 4) for names in card.patients.values() for name in names)
    assert simulate(small.experiment, tmp_path) == card  # there already


def test_finished_shards_are_kept_and_missing_ones_made_again(small, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.workspace.dataset, tmp_path / "data"))
    jobs = _jobs(small.experiment, folder)
    job = jobs[0]
    first, second = [folder / shard["path"] for shard in simulate_patient(job)["shards"]]
    before = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    manifest = job.manifest_path
    manifest.write_text(json.dumps({"key": json.loads(manifest.read_text())["key"]}))  # as a kill leaves it
    simulate_patient(job)
    assert (first.stat().st_mtime_ns, second.read_bytes()) == before


def test_shards_of_other_settings_are_not_reused(small, tmp_path: Path) -> None:
    jobs = _jobs(small.experiment, tmp_path)
    hashes = []
    for photons in (2000.0, 500.0):
        simulation = jobs[0].simulation.model_copy(update={"photons_per_ray": photons})
        job = dataclasses.replace(jobs[0], simulation=simulation)
        hashes.append([shard["sha256"] for shard in simulate_patient(job)["shards"]])
    assert all(a != b for a, b in zip(*hashes, strict=True))


def test_a_finished_dataset_refuses_other_settings(small) -> None:
    changed = _with(
        small.experiment, simulation={**small.experiment.simulation.model_dump(), "photons_per_ray": 9}
    )
    with pytest.raises(StudyError, match=r"photons_per_ray: 2000.0 -> 9"):
        simulate(changed, small.workspace.dataset)


def test_split_over_a_patient_that_is_not_there(small, tmp_path: Path) -> None:
    data = small.experiment.data.model_dump() | {"split": {"train": ["nobody"], "validation": [], "test": []}}
    with pytest.raises(ConfigError, match="nobody; the source has phantom-3-000"):
        plan(_with(small.experiment, data=data), tmp_path)


@pytest.mark.ray
def test_an_error_in_a_worker_reaches_the_user_as_it_is(local_ray: None, tmp_path: Path) -> None:
    import nibabel as nib
    import numpy as np

    source = tmp_path / "ct"
    source.mkdir()
    hu = np.full((16, 16, 3), -1000, np.int16)
    for number in (1, 2):
        nib.save(nib.Nifti1Image(hu, np.eye(4)), source / f"volume-{number}.nii.gz")
        labels = np.full(hu.shape, 7 * (number - 1), np.uint8)
        nib.save(nib.Nifti1Image(labels, np.eye(4)), source / f"segmentation-{number}.nii.gz")
    experiment = ExperimentConfig.parse(
        {
            "data": {
                "source": {"kind": "lits", "path": str(source)},
                "split": {"train": ["volume-1"], "validation": ["volume-2"], "test": []},
            },
            "simulation": {"preset": "tiny"},
        }
    )
    with pytest.raises(DataError, match="segmentation-2"):
        simulate(experiment, tmp_path / "data")
    assert not (tmp_path / "data" / DatasetFolder.card).exists()


@pytest.mark.ray
@pytest.mark.slow  # kills a process with a Ray of its own
def test_a_killed_job_continues_to_the_same_dataset(small, local_ray: None, tmp_path: Path) -> None:
    settings = small.experiment.model_dump(mode="json") | {"output": str(tmp_path)}
    settings["data"]["source"]["patients"] = 3
    settings["simulation"]["preset"] = "small"  # slow enough to be killed half-way
    settings["simulation"]["num_angles"] = None
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "study.cli", "simulate", str(config)]
    folder = tmp_path / "small" / "data"
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_for(lambda: any(folder.rglob("*.parquet")) or process.poll() is not None)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / DatasetFolder.card).exists(), "the job ended before it could be killed"
    time.sleep(1)  # Ray's workers notice that their driver is gone
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    card = simulate(ExperimentConfig.parse(settings), folder)
    untouched = tmp_path / "untouched"
    jobs = _jobs(ExperimentConfig.parse(settings), untouched)
    for job in jobs:
        for made, shard in zip(simulate_patient(job)["shards"], _of(card, job), strict=True):
            assert made["sha256"] == shard.sha256
    assert kept
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())


def _of(card, job) -> list:
    return [shard for shard in card.shards[job.split] if shard.patient == job.reference.patient]


def _wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_synthetic_lesions_stay_in_their_split(small, tmp_path: Path) -> None:
    values = small.experiment.model_dump()
    values["data"]["synthetic_lesions"] = {"splits": ["train"], "draws": 2}
    patients, jobs = plan(ExperimentConfig.parse(values), tmp_path)
    by_split = {
        split: [job.reference.patient for job in jobs if job.split == split] for split in schema.SPLITS
    }
    assert by_split["train"] == [f"{name}+lesions{draw}" for name in patients["train"] for draw in (0, 1)]
    assert by_split["validation"] == patients["validation"]
    assert by_split["test"] == patients["test"]
    assert len({job.stem for job in jobs}) == len(jobs)


def test_all_patients_share_the_smallest_field_that_holds_every_body(small, tmp_path: Path) -> None:
    field_mm = small.card.field_of_view_mm
    _, jobs = plan(small.experiment, tmp_path)
    bodies = [measure_patient(job) for job in jobs]
    assert field_mm - 20 < max(bodies) + 2 * MARGIN_MM <= field_mm
    assert field_mm % 10 == 0
    assert small.card.geometry["pixel_spacing_mm"] * 64 == pytest.approx(field_mm)
    assert [warning for warning in small.card.warnings if "cuts the body" in warning] == []
    spacings = {
        float(spacing)
        for split in schema.SPLITS
        for path in small.card.shard_paths(small.workspace.dataset, split)
        for spacing in pq.read_table(path)[schema.PIXEL_SPACING_MM].to_pylist()
    }
    assert list(spacings) == [pytest.approx(field_mm / 64)]


def test_a_body_is_measured_once(small, tmp_path: Path) -> None:
    job = plan(small.experiment, tmp_path)[1][0]
    measure_patient(job)
    found = json.loads(job.body_path.read_text())
    job.body_path.write_text(json.dumps(found | {"edge_mm": 123.0}))
    assert measure_patient(job) == 123.0
    other = dataclasses.replace(job, every=2)  # other slices
    assert measure_patient(other) != 123.0


def test_a_field_that_cuts_bodies_is_warned_of(small, tmp_path: Path) -> None:
    simulation = small.experiment.simulation.model_dump() | {"field_of_view_mm": 250.0}
    experiment = _with(small.experiment, simulation=simulation)
    manifest = simulate_patient(_jobs(experiment, tmp_path)[0])
    assert "the field of view of 250 mm cuts the body" in manifest["warnings"][0]


def test_only_train_shards_hold_bases_and_only_if_they_are_to_be_fresh(small, tmp_path: Path) -> None:
    for split in schema.SPLITS:
        names = pq.read_schema(small.card.shard_paths(small.workspace.dataset, split)[0]).names
        assert set(small.card.sample_columns) <= set(names)
        assert (set(schema.BASE_COLUMNS) <= set(names)) == (split == "train")
    stored = small.experiment.simulation.model_dump() | {"fresh": False}
    job = _jobs(_with(small.experiment, simulation=stored), tmp_path)[0]
    assert (job.split, job.with_bases) == ("train", False)
    first = pq.read_table(tmp_path / simulate_patient(job)["shards"][0]["path"])
    twin = pq.read_table(
        small.card.shard_paths(small.workspace.dataset, "train")[0], columns=first.column_names
    )
    assert first.equals(twin)  # the stored samples are the same either way


def test_a_dataset_of_a_version_without_some_settings_stays_usable(small, tmp_path: Path) -> None:
    """Its record lacks the settings that came later; only those that the YAML names can contradict it."""
    folder = Path(shutil.copytree(small.workspace.dataset, tmp_path / "data"))
    record = json.loads((folder / "dataset.json").read_text())
    for key in (
        "logarithm",
        "noise_hu",
        "dose_fraction",
        "automatic_exposure",
        "bow_tie_mm",
        "fresh",
        "fresh_draw",
    ):
        del record["simulation"][key]
    record["simulation"] |= {"field_of_view": "resize"}
    del (
        record["simulation"]["field_of_view_mm"],
        record["has_bases"],
        record["field_of_view_mm"],
        record["dose"],
    )
    (folder / "dataset.json").write_text(json.dumps(record))
    card = load_card(folder)
    assert not card.has_bases
    settings = SimulationConfig.of_dataset(card.simulation)
    assert (settings.logarithm, settings.fresh, settings.field_of_view) == (
        "zero_replacement",
        False,
        "resize",
    )
    named = {"preset": "tiny", "num_angles": 32, "photons_per_ray": 2000.0}
    values = small.experiment.model_dump()
    assert plan_simulation(ExperimentConfig.parse(values | {"simulation": named}), folder).is_done
    with pytest.raises(StudyError, match="field_of_view: resize -> scanner"):
        changed = ExperimentConfig.parse(values | {"simulation": named | {"field_of_view": "scanner"}})
        plan_simulation(changed, folder)


def test_how_epochs_differ_is_no_matter_of_the_dataset(small) -> None:
    simulation = small.experiment.simulation.model_dump() | {"fresh": False, "fresh_draw": {"scale": 0.3}}
    assert plan_simulation(_with(small.experiment, simulation=simulation), small.workspace.dataset).is_done


def test_an_empty_split_of_patients_is_told_of(small, tmp_path: Path) -> None:
    assert in_one_field([], lambda jobs: []) == []
    with pytest.raises(DataError, match="train split must hold samples"):
        dataset_card(small.experiment, {"train": []}, [])


def test_the_scanner_is_told_in_a_line(small) -> None:
    text = small.card.scanner_text
    assert f"scanner, {small.card.field_of_view_mm:g} mm for all patients" in text
    assert "photons per ray 2e+03" in text and "noise hu" in text
    ranged = small.card.model_copy(update={"dose": {"noise_hu": (20.0, 40.0)}, "field_of_view_mm": None})
    assert ranged.scanner_text == "Scanner: field of view scanner; dose: noise hu 20 to 40"
    assert small.card.model_copy(update={"dose": {}}).scanner_text.endswith("dose: not recorded")


OWN_SCANNER = """
import numpy as np, odl

def ray_transform():
    images = odl.uniform_discr([-0.2] * 2, [0.2] * 2, (64, 64), dtype="float32")
    geometry = odl.applications.tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, 60), odl.uniform_partition(-0.29, 0.29, 95))
    return odl.applications.tomo.RayTransform(images, geometry, impl="astra_cpu")
"""


def test_an_odl_ray_transform_is_the_scanner_of_a_dataset(
    small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its geometry is the card's, and whoever opens the dataset has to trust the name."""
    (tmp_path / "own_scanner_of_a_dataset.py").write_text(OWN_SCANNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "own_scanner_of_a_dataset:ray_transform"
    simulation = small.experiment.simulation.model_dump() | {
        "ray_transform": name,
        "field_of_view_mm": None,
        "num_angles": None,
        "inverse_crime_guard": False,
        "store_sinogram": True,
    }
    experiment = _with(small.experiment, simulation=simulation)
    jobs = _jobs(experiment, tmp_path / "data")
    assert all(job.simulation.field_of_view_mm == pytest.approx(400) for job in jobs)
    manifests = [simulate_patient(job) for job in jobs]
    card = dataset_card(experiment, plan(experiment, tmp_path / "data")[0], manifests)
    scan = card.scan(trust_of(experiment))
    assert isinstance(scan, OdlScan)
    assert (scan.image_shape, scan.sinogram_shape) == ((64, 64), (60, 95))
    rows = pq.read_table(tmp_path / "data" / card.shards["train"][0].path).to_pylist()
    image = torch.tensor(rows[0][schema.FULL_DOSE]).reshape(1, 1, 64, 64)
    sinogram = torch.tensor(rows[0][schema.SINOGRAM]).reshape(1, 1, 60, 95)
    noise_free = RayTransform(scan)(image)
    assert float((sinogram - noise_free).norm() / noise_free.norm()) < 0.2
    with pytest.raises(ConfigError, match="run code of whoever made the folder"):
        card.scan(BUILT_IN_ONLY)
