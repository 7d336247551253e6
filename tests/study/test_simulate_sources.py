"""What simulating says of its source: who is one person, which CTs are one, who has no liver or no labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest

from study.config import ExperimentConfig
from study.data.leakage import check_no_twins
from study.data.patient_jobs import in_one_field, plan
from study.data.shards import from_table
from study.data.simulate import dataset_card
from study.data.simulate_patient import Manifest, simulate_patient
from taskct_core import schema
from taskct_core.errors import ConfigError, DataError, TaskctError

sys.path.insert(0, str(Path(__file__).parent.parent / "taskct_core"))  # importlib mode: the abdomen's module

from abdomen import make_abdomen, nifti_of, write_dicom_patient, write_lits

HU, LABELS = make_abdomen()
NAMED = {"train": ["volume-1"], "validation": ["volume-2"], "test": []}


def experiment_of(source: dict[str, Any], split: dict[str, Any], **data: Any) -> ExperimentConfig:
    simulation = {"preset": "tiny", "num_angles": 24}
    return ExperimentConfig.parse(
        {"data": {"source": source, "split": split, **data}, "simulation": simulation}
    )


def simulated(experiment: ExperimentConfig, folder: Path) -> tuple[list[Manifest], Any]:
    """What ``taskct simulate`` does, in this process."""
    from study.data.simulate_patient import measure_patient

    patients, jobs = plan(experiment, folder)
    jobs = in_one_field(jobs, lambda jobs: (measure_patient(job) for job in jobs))
    manifests = [simulate_patient(job) for job in jobs]
    card = dataset_card(experiment, patients, manifests)
    check_no_twins(manifests)
    return manifests, card


def test_two_studies_of_one_person_are_refused_in_two_splits_and_kept_together_by_shares(
    tmp_path: Path,
) -> None:
    for name in ("a_2019", "a_2021", "b_2020"):
        write_dicom_patient(tmp_path / "scans" / name)
    source = {"kind": "dicom", "path": str(tmp_path / "scans")}
    named = {"train": ["a_2019"], "validation": ["b_2020"], "test": ["a_2021"]}
    with pytest.raises(DataError, match="same PatientID"):
        plan(experiment_of(source, named), tmp_path / "data")
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    with pytest.raises(ConfigError, match="studies of one person count once"):
        plan(experiment_of(source, shares), tmp_path / "data")
    untrusted = experiment_of(source | {"trust_patient_id": False}, named)
    assert plan(untrusted, tmp_path / "data")[0] == named


def test_one_ct_in_two_kinds_of_file_is_refused_in_two_splits(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_lits(scans, name="1")
    write_lits(scans, HU.astype(np.float32), name="2", ending=".nii")
    turned = np.eye(4)
    turned[:3, :3] = np.diag([0.8, 0.8, 4.0])
    for kind, voxels in (("volume", HU), ("segmentation", LABELS)):
        nib.save(nifti_of(voxels[:, ::-1, ::-1], turned), scans / f"{kind}-2.nii")
    experiment = experiment_of(
        {"kind": "lits", "path": str(scans)}, NAMED, synthetic_lesions={"splits": ["train"]}
    )
    with pytest.raises(
        TaskctError, match=r"volume-1 \(train\) and volume-2 \(validation\) have the same voxels"
    ):
        simulated(experiment, tmp_path / "data")


def test_a_validation_patient_without_liver_is_told_when_simulating(tmp_path: Path) -> None:
    write_lits(tmp_path / "scans", name="1")
    write_lits(tmp_path / "scans", make_abdomen(1)[0], np.zeros_like(LABELS), name="2")
    source = {"kind": "lits", "path": str(tmp_path / "scans")}
    with pytest.raises(DataError, match=r"validation split.*volume-2.*no slice of theirs has a liver"):
        simulated(experiment_of(source, NAMED), tmp_path / "data")
    whole = experiment_of(source, NAMED, slices={"only_with_liver": False})
    _, card = simulated(whole, tmp_path / "whole")
    assert any(
        message.startswith("validation: none of its 8 slices has a liver") for message in card.warnings
    )


def test_patients_without_labels_train_only_where_asked_for(tmp_path: Path) -> None:
    write_lits(tmp_path / "scans", name="1")
    write_lits(tmp_path / "scans", make_abdomen(1)[0], name="2")
    write_lits(tmp_path / "scans", make_abdomen(2)[0], name="3")
    (tmp_path / "scans" / "segmentation-3.nii.gz").unlink()
    source: dict[str, Any] = {"kind": "lits", "path": str(tmp_path / "scans")}
    split = {**NAMED, "train": ["volume-1", "volume-3"]}
    with pytest.raises(DataError, match=r"source\.unlabelled"):
        plan(experiment_of(source, split), tmp_path / "data")
    source["unlabelled"] = True
    with pytest.raises(ConfigError, match="volume-3 in validation or test"):
        plan(experiment_of(source, {**split, "train": [], "test": ["volume-3"]}), tmp_path / "data")
    manifests, card = simulated(experiment_of(source, split), tmp_path / "data")
    unlabelled = next(manifest for manifest in manifests if manifest["patient"] == "volume-3")
    assert unlabelled["counts"]["samples"] == 8 and not unlabelled["counts"]["with_liver"]
    for shard in unlabelled["shards"]:
        columns = from_table(pq.read_table(tmp_path / "data" / shard["path"]))
        for name in (schema.LABELS, schema.BASE_LABELS):
            assert (columns[name] == schema.UNLABELLED).all()
    labelled = next(manifest for manifest in manifests if manifest["patient"] == "volume-1")
    columns = from_table(pq.read_table(tmp_path / "data" / labelled["shards"][0]["path"]))
    assert columns[schema.LABELS].max() <= schema.TUMOUR
    assert card.counts["train"]["samples"] == 8 + labelled["counts"]["samples"]
