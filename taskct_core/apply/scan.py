"""A CT of a user's own: read as every volume is, and images written on its own grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from taskct_core.apply.dicom_output import write_derived_series, write_new_series
from taskct_core.apply.nifti_output import write_nifti
from taskct_core.errors import DataError
from taskct_core.volumes.checks import checked_hu
from taskct_core.volumes.dicom_folder import scan_folder
from taskct_core.volumes.dicom_series import Slice, read_slices, stack
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.grid_override import TRUSTED
from taskct_core.volumes.nifti import is_nifti_name, open_nifti
from taskct_core.volumes.voxel_grid import VoxelGrid

Hu = NDArray[np.int16 | np.float32]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A CT with the grid that it is stored on.

    Attributes:
        name: of the file or folder.
        hu: ``(slice, row, column)`` in the axes of ``Volume``.
        grid: as stored.
        header: of a NIfTI file.
        slices: of a DICOM series, in the order of the grid's third axis.
        findings: what the reader noticed.
    """

    name: str
    hu: Hu
    grid: VoxelGrid
    header: Nifti1Header | None = None
    slices: tuple[Slice, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """``(slice, row, column)``."""
        return self.grid.spacing_mm()

    def write(self, output: Path, hu: NDArray[np.float32], description: str) -> None:
        """Write images made of this scan where it lies, whole or not at all.

        Args:
            output: ``.nii`` or ``.nii.gz``, else the folder of a DICOM series; must not be there yet.
            hu: in the axes of ``self.hu``.
            description: how they were made.

        Raises:
            DataError: if a DICOM series cannot be written for this scan.
        """
        stored = self.grid.from_canonical(hu)
        if is_nifti_name(output):
            is_whole = self.hu.dtype.kind == "i"
            write_nifti(
                output,
                stored.round().astype(np.int16) if is_whole else stored,
                self.grid,
                self.header,
                description,
            )
        elif self.slices:
            write_derived_series(output, stored, self.slices, description)
        else:
            canonical = self.grid.canonical()
            write_new_series(output, canonical.from_canonical(hu), canonical, description)

    def write_labels(self, output: Path, labels: NDArray[np.uint8], description: str) -> None:
        """Write labels, in the axes of ``self.hu``, as NIfTI on the scan's grid."""
        write_nifti(output, self.grid.from_canonical(labels), self.grid, self.header, description)


def open_scan(path: str | Path) -> Scan:
    """Read a NIfTI file, or a folder that holds one DICOM series.

    Raises:
        DataError: if it is neither, or not in HU.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        return _dicom_scan(place)
    if not place.is_file():
        raise DataError(
            "a scan must be a NIfTI file or a folder of a DICOM series",
            f"{path}, which does not exist",
            "Correct the path.",
        )
    file = open_nifti(place, TRUSTED)
    hu, findings = checked_hu(file.read(), str(place), is_low_dose=True)
    return Scan(
        name=place.name,
        hu=file.grid.to_canonical(hu),
        grid=file.grid,
        header=file.header,
        findings=(*file.findings, *findings),
    )


def _dicom_scan(folder: Path) -> Scan:
    found = scan_folder(folder)
    if not found.images:
        raise DataError(
            "a folder of a scan must hold one DICOM series",
            f"{folder}: no DICOM image",
            "Name the folder of its files, or a NIfTI file.",
        )
    slices, grid = read_slices(found.images, rescale=True)
    planes = [slice_.hu()[0] for slice_ in slices]
    hu, findings = checked_hu(stack(planes), str(folder), is_low_dose=True)
    return Scan(
        name=folder.name,
        hu=grid.to_canonical(hu),
        grid=grid,
        slices=tuple(slices),
        findings=(*found.findings, *findings),
    )


def scan_of_images(hu: NDArray[np.float32], pixel_spacing_mm: float, name: str) -> Scan:
    """Images without a place in a patient, such as those of sinograms: slices 1 mm apart, centred on the origin."""
    rows, columns = hu.shape[1:]
    affine = np.diag([-pixel_spacing_mm, -pixel_spacing_mm, 1.0, 1.0])
    affine[:2, 3] = (columns - 1) / 2 * pixel_spacing_mm, (rows - 1) / 2 * pixel_spacing_mm
    return Scan(name=name, hu=hu, grid=VoxelGrid((columns, rows, len(hu)), affine))
