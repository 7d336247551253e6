"""A patient of NIfTI files: a volume and its labels, in one file or one a structure, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskct_core.schema import LABEL_OF
from taskct_core.volumes.checks import checked_hu, checked_labels
from taskct_core.volumes.grid_override import TRUSTED, GridOverride
from taskct_core.volumes.nifti import NiftiFile, open_nifti
from taskct_core.volumes.volume import Volume, VolumeReference
from taskct_core.volumes.voxel_grid import VoxelGrid, axes_of, check_same_grid

Classes = Mapping[int, str]  # a file's label number -> "liver" or "tumour"


@dataclass(frozen=True, kw_only=True)
class NiftiReference(VolumeReference):
    """The files of one patient.

    Attributes:
        volume_file: the CT.
        labels_file: its labels, if one file holds them all.
        mask_files: else (structure, file) pairs: "liver" or "tumour" where the file is not 0.
        classes: (number, structure) pairs of ``labels_file``; numbers that are not named are background. None:
            1 is liver, 2 is tumour, and nothing else may occur.
        override: what is known better than the headers know it.
    """

    volume_file: Path
    labels_file: Path | None = None
    mask_files: tuple[tuple[str, Path], ...] = ()
    classes: tuple[tuple[int, str], ...] | None = None
    override: GridOverride = GridOverride()

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.volume_file, *self.label_files)

    @property
    def label_files(self) -> tuple[Path, ...]:
        labels = () if self.labels_file is None else (self.labels_file,)
        return (*labels, *(file for _, file in self.mask_files))

    def read(self) -> Volume:
        image = open_nifti(self.volume_file, self.override)
        values, findings = checked_hu(image.read(), str(self.volume_file))
        return Volume(
            patient=self.patient,
            hu=image.grid.to_canonical(values),
            labels=self._labels(image),
            spacing_mm=image.grid.spacing_mm(),
            labelled=self.labelled,
            stored_axes=axes_of(image.grid.affine),
            findings=(*image.findings, *findings),
        )

    def _labels(self, image: NiftiFile) -> NDArray[np.uint8]:
        name = str(self.volume_file)
        if self.labels_file is not None:
            return read_labels(self.labels_file, image.grid, name, self.override, self.classes)
        labels = np.zeros(image.grid.canonical().shape[::-1], np.uint8)
        for structure, file in sorted(self.mask_files):  # liver first: tumours lie in it
            mask = open_nifti(file, self.override)
            check_same_grid(image.grid, mask.grid, name, str(file))
            labels[mask.grid.to_canonical(mask.read()) != 0] = LABEL_OF[structure]
        return labels


def read_labels(
    file: Path,
    grid: VoxelGrid,
    image_name: str,
    override: GridOverride,
    classes: tuple[tuple[int, str], ...] | None,
) -> NDArray[np.uint8]:
    """Read a NIfTI file of labels onto an image's grid, as ``(slice, row, column)``.

    Args:
        classes: see ``NiftiReference``.

    Raises:
        DataError: if it lies elsewhere or holds no labels.
    """
    opened = open_nifti(file, override)
    check_same_grid(grid, opened.grid, image_name, str(file))
    numbers = None if classes is None else {number: LABEL_OF[name] for number, name in classes}
    return opened.grid.to_canonical(checked_labels(opened.read(), str(file), numbers))


def nifti_reference(
    patient: str,
    volume_file: Path,
    labels_file: Path | None = None,
    mask_files: Mapping[str, Path] | None = None,
    classes: Classes | None = None,
    override: GridOverride = TRUSTED,
) -> NiftiReference:
    """Check the headers of one patient's files and refer to them.

    Raises:
        DataError: if a header is unreadable or labels lie elsewhere.
    """
    grid = open_nifti(volume_file, override).grid
    masks = tuple(sorted((mask_files or {}).items()))
    for file in ([] if labels_file is None else [labels_file]) + [file for _, file in masks]:
        check_same_grid(grid, open_nifti(file, override).grid, str(volume_file), str(file))
    return NiftiReference(
        patient=patient,
        num_slices=grid.canonical().shape[2],
        labelled=labels_file is not None or bool(masks),
        volume_file=volume_file,
        labels_file=labels_file,
        mask_files=masks,
        classes=None if classes is None else tuple(sorted(classes.items())),
        override=override,
    )
