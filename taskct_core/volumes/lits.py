"""The LiTS layout: ``volume-N.nii[.gz]`` with ``segmentation-N.nii[.gz]``, anywhere below one folder."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.volumes.checks import checked_hu, checked_labels
from taskct_core.volumes.volume import Volume, VolumeReference
from taskct_core.volumes.voxel_grid import VoxelGrid, check_grid, check_same_grid, with_orientation

FILE_NAME = re.compile(r"(volume|segmentation)-(.+)\.nii(\.gz)?")
UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError)


@dataclass(frozen=True, kw_only=True)
class LitsReference(VolumeReference):
    """A volume file and its label file."""

    volume_file: Path
    labels_file: Path
    orientation: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.volume_file, self.labels_file

    @property
    def label_files(self) -> tuple[Path, ...]:
        return (self.labels_file,)

    def read(self) -> Volume:
        image, grid = open_nifti(self.volume_file, self.orientation)
        label_image, label_grid = open_nifti(self.labels_file, self.orientation)
        check_same_grid(grid, label_grid, str(self.volume_file), str(self.labels_file))
        return Volume(
            patient=self.patient,
            hu=grid.to_canonical(checked_hu(read_voxels(image, self.volume_file), str(self.volume_file))),
            labels=label_grid.to_canonical(
                checked_labels(read_voxels(label_image, self.labels_file), str(self.labels_file))
            ),
            spacing_mm=grid.spacing_mm(),
        )


def lits_patients(folder: Path, orientation: str | None = None) -> list[LitsReference]:
    """Pair the folder's volumes with their labels and check the headers.

    Returns:
        One reference a patient, named ``volume-N``, in numerical order.

    Raises:
        DataError: if nothing is found, a file has no partner, or headers are unreadable or disagree.
    """
    volumes, labels = _find(folder, "volume"), _find(folder, "segmentation")
    if not volumes and not labels:
        raise DataError(
            "a LiTS folder must hold volume-N.nii[.gz] and segmentation-N.nii[.gz]",
            f"{folder}: neither found",
            "Check source.path, or rename the files.",
        )
    for number in sorted(volumes.keys() ^ labels.keys(), key=_numerically):
        file = volumes.get(number) or labels.get(number)
        partner = "segmentation" if number in volumes else "volume"
        raise DataError(
            "each volume must have a label file and each label file a volume",
            f"{file} without {partner}-{number}.nii[.gz]",
            "Add the missing file, or move this one out of the folder.",
        )
    return [
        _reference(number, volumes[number], labels[number], orientation)
        for number in sorted(volumes, key=_numerically)
    ]


def _find(folder: Path, kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob(f"{kind}-*.nii*")):
        match = FILE_NAME.fullmatch(file.name)
        if match is None:
            continue
        if match[2] in found:
            raise DataError(
                "a patient must have one volume and one label file",
                f"{found[match[2]]} and {file}",
                "Keep one of them.",
            )
        found[match[2]] = file
    return found


def _numerically(number: str) -> tuple[bool, int, str]:
    return (False, int(number), "") if number.isdecimal() else (True, 0, number)


def _reference(number: str, volume: Path, labels: Path, orientation: str | None) -> LitsReference:
    _, grid = open_nifti(volume, orientation)
    _, label_grid = open_nifti(labels, orientation)
    check_same_grid(grid, label_grid, str(volume), str(labels))
    return LitsReference(
        patient=f"volume-{number}",
        num_slices=grid.canonical().shape[2],
        volume_file=volume,
        labels_file=labels,
        orientation=orientation,
    )


def open_nifti(file: Path, orientation: str | None) -> tuple[Nifti1Image, VoxelGrid]:
    """Read a NIfTI header and return the image, its voxels still on disk, and its checked grid.

    Raises:
        DataError: if the header is unreadable, tells no orientation, or describes no 3-D grid.
    """
    try:
        image = nib.load(file)
    except UNREADABLE as error:
        raise _unreadable(file, error) from None
    if not isinstance(image, Nifti1Image):
        raise DataError("the file must be NIfTI", f"{file}: {type(image).__name__}", "Convert it.")
    grid = VoxelGrid(image.shape, image.affine)
    check_grid(grid, str(file))
    if orientation is not None:
        return image, VoxelGrid(image.shape, with_orientation(image.affine, orientation))
    if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
        raise DataError(
            "the header must tell the orientation (qform_code or sform_code above 0)",
            f"{file}: both 0",
            "Name it in source.orientation, e.g. LPS.",
        )
    return image, grid


def read_voxels(image: Nifti1Image, file: Path) -> NDArray[np.generic]:
    """Read the voxels of an opened NIfTI image.

    Raises:
        DataError: if they are incomplete or, in a compressed file, damaged.
    """
    try:
        if file.suffix == ".gz":
            # NiBabel stops before the checksum at the file's end; decompressing it all verifies it.
            image = type(image).from_bytes(gzip.decompress(file.read_bytes()))
        return np.asanyarray(image.dataobj)
    except UNREADABLE as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        "the file must be a complete NIfTI image",
        f"{file} ({' '.join(str(error).split()) or type(error).__name__})",
        "It may be truncated or damaged: copy or download it again.",
    )
