"""Patients as DICOM CT series, with optional masks.

    <folder>/<patient>/image/*           the CT (or the files directly in <patient>)
    <folder>/<patient>/liver/*           mask series on the same slices: liver where not 0
    <folder>/<patient>/tumour/*          the same for tumours; needs the liver
    <folder>/<patient>/labels.nii[.gz]   instead of mask series: 0 background, 1 liver, 2 tumour

A folder that is itself such a patient is read as one. Without masks the labels are all background
and the reference says ``labelled=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.checks import checked_hu, checked_labels
from taskct_core.volumes.dicom_series import list_series, read_series
from taskct_core.volumes.lits import open_nifti, read_voxels
from taskct_core.volumes.volume import Volume, VolumeReference
from taskct_core.volumes.voxel_grid import VoxelGrid, check_same_grid, with_orientation

IMAGE_FOLDER, LIVER_FOLDER, TUMOUR_FOLDER = "image", "liver", "tumour"
LABEL_FILES = ("labels.nii", "labels.nii.gz")


@dataclass(frozen=True, kw_only=True)
class DicomReference(VolumeReference):
    """The files of a CT series and of its masks: two series, or one NIfTI of labels, or neither."""

    image_files: tuple[Path, ...]
    liver_files: tuple[Path, ...] = ()
    tumour_files: tuple[Path, ...] = ()
    labels_file: Path | None = None
    orientation: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.image_files + self.label_files

    @property
    def label_files(self) -> tuple[Path, ...]:
        labels = () if self.labels_file is None else (self.labels_file,)
        return self.liver_files + self.tumour_files + labels

    def read(self) -> Volume:
        name = str(self.image_files[0].parent)
        voxels, grid = self._series(self.image_files, rescale=True)
        return Volume(
            patient=self.patient,
            hu=grid.to_canonical(checked_hu(voxels, name)),
            labels=self._labels(grid, name),
            spacing_mm=grid.spacing_mm(),
        )

    def _series(self, files: tuple[Path, ...], rescale: bool) -> tuple[NDArray[np.generic], VoxelGrid]:
        voxels, grid = read_series(files, rescale)
        if self.orientation is not None:
            grid = VoxelGrid(grid.shape, with_orientation(grid.affine, self.orientation))
        return voxels, grid

    def _labels(self, grid: VoxelGrid, name: str) -> NDArray[np.uint8]:
        if self.labels_file is not None:
            image, label_grid = open_nifti(self.labels_file, self.orientation)
            check_same_grid(grid, label_grid, name, str(self.labels_file))
            voxels = read_voxels(image, self.labels_file)
            return label_grid.to_canonical(checked_labels(voxels, str(self.labels_file)))
        canonical = grid.canonical().shape
        labels = np.zeros(canonical[::-1], np.uint8)
        for files, value in ((self.liver_files, LIVER), (self.tumour_files, TUMOUR)):
            if files:
                mask, mask_grid = self._series(files, rescale=False)
                check_same_grid(grid, mask_grid, name, str(files[0].parent))
                labels[mask_grid.to_canonical(mask) != 0] = value
        return labels


def dicom_patients(folder: Path, orientation: str | None = None) -> list[DicomReference]:
    """List the patients of a folder, or the one that the folder itself is, by name.

    Raises:
        DataError: if there is no DICOM file, a folder holds several series, or masks lack their partner.
    """
    if _image_files(folder):
        return [_reference(folder.resolve().name, folder, orientation)]
    patients = [
        entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")
    ]
    # By the name in this folder: links to folders elsewhere may lead to the same name twice.
    references = [_reference(patient.name, patient, orientation) for patient in patients]
    if not references:
        raise DataError(
            "a DICOM folder must hold one folder a patient, or the files of one series",
            f"{folder}: neither found",
            "Check source.path.",
        )
    return references


def _image_files(patient: Path) -> tuple[Path, ...]:
    image_folder = patient / IMAGE_FOLDER
    return list_series(image_folder if image_folder.is_dir() else patient)


def _reference(name: str, patient: Path, orientation: str | None) -> DicomReference:
    images = _image_files(patient)
    if not images:
        raise DataError(
            "each patient's folder must hold a CT series, in image/ or directly",
            f"{patient}: no DICOM file",
            "Add the series, or move this folder elsewhere.",
        )
    liver, tumour = _mask_files(patient / LIVER_FOLDER), _mask_files(patient / TUMOUR_FOLDER)
    labels_file = next((patient / name for name in LABEL_FILES if (patient / name).is_file()), None)
    if tumour and not liver:
        raise DataError(
            "a tumour mask needs a liver mask",
            f"{patient}: tumour/ without liver/",
            "Add the liver's series.",
        )
    if labels_file and (liver or tumour):
        raise DataError(
            "labels must come from mask series or from one NIfTI file",
            f"{patient}: {labels_file.name} and mask folders",
            "Keep one of the two.",
        )
    return DicomReference(
        patient=name,
        num_slices=len(images),
        labelled=bool(liver or labels_file),
        image_files=images,
        liver_files=liver,
        tumour_files=tumour,
        labels_file=labels_file,
        orientation=orientation,
    )


def _mask_files(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    files = list_series(folder)
    if not files:
        raise DataError(
            "a mask folder must hold a DICOM series",
            f"{folder}: no DICOM file",
            "Add its files or remove it.",
        )
    return files
