"""A simulated patient as a scan: low-dose images as a NIfTI file in HU, such as `taskct reconstruct` takes.

taskct shards scan runs/NAME/data low_dose.nii.gz
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.data.dataset import DatasetCard
from study.data.shards import from_table, read_shard
from taskct_core import schema
from taskct_core.apply.application import Output
from taskct_core.apply.nifti_output import write_nifti
from taskct_core.errors import ConfigError
from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.registry import did_you_mean
from taskct_core.volumes.nifti import is_nifti_name
from taskct_core.volumes.voxel_grid import VoxelGrid

SLICE_DISTANCE_MM = 5.0  # a dataset does not keep how far apart its slices were


def export_scan(card: DatasetCard, dataset: Path, output: Path, patient: str | None = None) -> str:
    """Write a patient's FBP images, int16 HU, where nothing is yet.

    Args:
        card: of the dataset.
        dataset: its folder.
        output: a name that ends in ``.nii`` or ``.nii.gz``.
        patient: None: the first of the test split.

    Returns:
        The patient's name.

    Raises:
        ConfigError: if the dataset has no such patient, or the file cannot be written.
        DataError: if a shard is damaged.
    """
    if not is_nifti_name(output):
        raise ConfigError("a scan is written as .nii or .nii.gz", str(output), "Correct its name.")
    Output(output).check()
    patient = _known_patient(card, patient)
    samples = _samples_of(card, dataset, patient)
    order = np.argsort(samples[schema.SLICE_INDEX])
    hu = mu_to_hu(samples[schema.FBP][order] * MU_MAX).round().astype(np.int16)
    pixel = float(samples[schema.PIXEL_SPACING_MM][0])
    # Columns run to the left, rows to the back, slices up.
    affine = np.diag([-pixel, -pixel, SLICE_DISTANCE_MM, 1.0])
    grid = VoxelGrid(hu.shape[::-1], affine)
    write_nifti(output, grid.from_canonical(hu), grid, None, f"taskct simulation of {patient}, low dose, FBP")
    return patient


def _known_patient(card: DatasetCard, patient: str | None) -> str:
    everybody = [name for split in ("test", "validation", "train") for name in card.patients[split]]
    name = everybody[0] if patient is None else patient
    if name not in everybody:
        raise ConfigError(
            f"--patient must be one of the dataset's {len(everybody)}, such as {everybody[0]}",
            f"{name!r}{did_you_mean(name, everybody)}",
            "Leave it out for the first of the test split.",
        )
    return name


def _samples_of(card: DatasetCard, dataset: Path, patient: str) -> dict[str, NDArray[Any]]:
    """The patient's samples as they are stored; a shard holds one patient's."""
    columns = (schema.SLICE_INDEX, schema.FBP, schema.PIXEL_SPACING_MM)
    parts = []
    for split in schema.SPLITS:
        if patient not in card.patients[split]:
            continue
        for path in card.shard_paths(dataset, split):
            table = read_shard(path)
            if table[schema.PATIENT][0].as_py() == patient:
                parts.append(from_table(table.select(columns)))
    return {name: np.concatenate([part[name] for part in parts]) for name in columns}
