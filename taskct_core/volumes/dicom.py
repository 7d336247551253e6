"""Patients as DICOM CT series, with optional masks.

    <folder>/<patient>/image/*           the CT (or the files directly in <patient>)
    <folder>/<patient>/liver/*           mask series on the same slices, liver where not 0; or a DICOM SEG
    <folder>/<patient>/tumour/*          the same for tumours; needs the liver
    <folder>/<patient>/seg/*             a DICOM SEG with segments of both (or beside the CT's files)
    <folder>/<patient>/labels.nii[.gz]   instead of all these: 0 background, 1 liver, 2 tumour

A folder that is itself such a patient is read as one. Without masks the labels are all background
and the reference says ``labelled=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.schema import LABEL_OF
from taskct_core.volumes.checks import checked_hu
from taskct_core.volumes.dicom_folder import DicomFolder, scan_folder
from taskct_core.volumes.dicom_mask import mask_of
from taskct_core.volumes.dicom_seg import read_segmentation
from taskct_core.volumes.dicom_series import read_slices, stack
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.grid_override import NO_OVERRIDES, GridOverride, GridOverrides
from taskct_core.volumes.nifti_reference import Classes, read_labels
from taskct_core.volumes.volume import Volume, VolumeReference
from taskct_core.volumes.voxel_grid import VoxelGrid, axes_of, check_same_grid

IMAGE_FOLDER, SEG_FOLDER = "image", "seg"
LABEL_FILES = ("labels.nii", "labels.nii.gz")


@dataclass(frozen=True, kw_only=True)
class DicomReference(VolumeReference):
    """The files of a CT series and of its masks, of one kind, or none.

    Attributes:
        image_files: of the CT.
        mask_files: (structure, files) of mask series: "liver", then "tumour".
        seg_files: (structure of the folder or None, DICOM SEG file).
        labels_file: a NIfTI of labels.
        classes: (number, structure) pairs of ``labels_file`` or of a SEG's segments; None: see
            ``NiftiReference`` and ``read_segmentation``.
        override: what is known better than the headers know it.
        findings: what was passed over in the folders.
    """

    image_files: tuple[Path, ...]
    mask_files: tuple[tuple[str, tuple[Path, ...]], ...] = ()
    seg_files: tuple[tuple[str | None, Path], ...] = ()
    labels_file: Path | None = None
    classes: tuple[tuple[int, str], ...] | None = None
    override: GridOverride = GridOverride()
    findings: tuple[Finding, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.image_files, *self.label_files)

    @property
    def label_files(self) -> tuple[Path, ...]:
        masks = [file for _, files in self.mask_files for file in files]
        labels = () if self.labels_file is None else (self.labels_file,)
        return (*masks, *(file for _, file in self.seg_files), *labels)

    def read(self) -> Volume:
        name = str(self.image_files[0].parent)
        slices, grid = read_slices(self.image_files, rescale=True)
        planes, padded = zip(*(slice_.hu() for slice_ in slices), strict=True)
        values, findings = checked_hu(stack(list(planes)), name)
        turned = self.override.of(grid)
        return Volume(
            patient=self.patient,
            hu=turned.to_canonical(values),
            labels=self._labels(grid, name),
            spacing_mm=turned.spacing_mm(),
            labelled=self.labelled,
            stored_axes=axes_of(turned.affine),
            findings=(*self.findings, *findings, *_padding_found(sum(padded), values.size)),
        )

    def _labels(self, grid: VoxelGrid, name: str) -> NDArray[np.uint8]:
        turned = self.override.of(grid)
        if self.labels_file is not None:
            return read_labels(self.labels_file, turned, name, self.override, self.classes)
        labels = np.zeros(turned.canonical().shape[::-1], np.uint8)
        for structure, files in self.mask_files:
            masks, mask_grid = read_slices(files, rescale=False)
            check_same_grid(grid, mask_grid, name, str(files[0].parent))
            mask = mask_of(masks, str(files[0].parent))
            labels[self.override.of(mask_grid).to_canonical(mask)] = LABEL_OF[structure]
        classes = None if self.classes is None else dict(self.classes)
        for only, file in self.seg_files:
            # The segmentation lies by its own header on the image's, so both are turned only afterwards.
            segments = read_segmentation(file, grid, only, classes)
            found = turned.to_canonical(grid.from_canonical(segments))
            np.maximum(labels, found, out=labels)
        return labels


def dicom_patients(
    folder: Path, overrides: GridOverrides = NO_OVERRIDES, classes: Classes | None = None
) -> list[DicomReference]:
    """List the patients of a folder, or the one that the folder itself is, by name.

    Raises:
        DataError: if there is no DICOM file, a folder holds several series, or masks lack their partner.
    """
    if _images(folder).images:
        folders = {folder.resolve().name: folder}
    else:
        # By the name in this folder: links to folders elsewhere may lead to the same name twice.
        folders = {
            entry.name: entry
            for entry in sorted(folder.iterdir())
            if entry.is_dir() and not entry.name.startswith(".")
        }
    if not folders:
        raise DataError(
            "a DICOM folder must hold one folder a patient, or the files of one series",
            f"{folder}: neither found",
            "Check source.path.",
        )
    overrides.check_used(list(folders))
    return [_reference(name, patient, overrides, classes) for name, patient in folders.items()]


def _images(patient: Path) -> DicomFolder:
    image_folder = patient / IMAGE_FOLDER
    return scan_folder(image_folder if image_folder.is_dir() else patient)


def _reference(name: str, patient: Path, overrides: GridOverrides, classes: Classes | None) -> DicomReference:
    images = _images(patient)
    if not images.images:
        raise DataError(
            "each patient's folder must hold a CT series, in image/ or directly",
            f"{patient}: no DICOM file",
            "Add the series, or move this folder elsewhere.",
        )
    found_masks = {structure: _masks(patient / structure) for structure in LABEL_OF}
    segmentations: list[tuple[str | None, Path]] = [(None, file) for file in images.segmentations]
    segmentations += [(None, file) for file in _masks(patient / SEG_FOLDER).segmentations]
    segmentations += [
        (structure, file) for structure, found in found_masks.items() for file in found.segmentations
    ]
    series = tuple((structure, found.images) for structure, found in found_masks.items() if found.images)
    labels_file = next((patient / file for file in LABEL_FILES if (patient / file).is_file()), None)
    _check_partners(patient, series, segmentations, labels_file)
    return DicomReference(
        patient=name,
        num_slices=images.num_slices,
        labelled=bool(series or segmentations or labels_file),
        person=images.person,
        image_files=images.images,
        mask_files=series,
        seg_files=tuple(segmentations),
        labels_file=labels_file,
        classes=None if classes is None else tuple(sorted(classes.items())),
        override=overrides.of(name),
        findings=images.findings + tuple(note for found in found_masks.values() for note in found.findings),
    )


def _check_partners(
    patient: Path,
    series: tuple[tuple[str, tuple[Path, ...]], ...],
    segmentations: list[tuple[str | None, Path]],
    labels_file: Path | None,
) -> None:
    structures = {name for name, _ in (*series, *segmentations)}
    if structures == {"tumour"}:
        raise DataError(
            "a tumour mask needs a liver mask",
            f"{patient}: tumour/ without liver/",
            "Add the liver's series.",
        )
    if labels_file and structures:
        raise DataError(
            "labels must come from mask series, from DICOM SEG or from one NIfTI file",
            f"{patient}: {labels_file.name} and masks",
            "Keep one of them.",
        )


def _masks(folder: Path) -> DicomFolder:
    if not folder.is_dir():
        return DicomFolder()
    found = scan_folder(folder)
    if not found.images and not found.segmentations:
        raise DataError(
            "a mask folder must hold a DICOM series or a DICOM SEG",
            f"{folder}: no DICOM file",
            "Add its files or remove it.",
        )
    return found


def _padding_found(padded: int, size: int) -> tuple[Finding, ...]:
    if not padded:
        return ()
    found = f"{padded / size:.1%} of the voxels are padding by PixelPaddingValue"
    return (Finding("note", "padding lies at -1024 HU", found, "They were read as air."),)
