"""Derived images as NIfTI, under the header of what they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.nifti1 import Nifti1Extension, Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from taskct_core.contracts.files import write_whole
from taskct_core.volumes.voxel_grid import VoxelGrid

_SHORT_DESCRIPTION = b"derived by taskct; not for diagnosis"  # at most 79 bytes
_SCANNER = 1  # code of coordinates in NIfTI


def write_nifti(
    output: Path, stored: NDArray[Any], grid: VoxelGrid, header: Nifti1Header | None, description: str
) -> None:
    """Write voxels ``(i, j, k)`` of a grid.

    Args:
        output: its name ends in ``.nii`` or ``.nii.gz``.
        header: of the scan, whose place and units are kept as they are; None: the grid's affine, in mm.
        description: kept in the header's comment.
    """
    kind = nib.Nifti2Image if isinstance(header, Nifti2Header) else nib.Nifti1Image
    if header is None:
        image = kind(stored, grid.affine)
        image.set_sform(grid.affine, _SCANNER)
        image.set_qform(grid.affine, _SCANNER)
        image.header.set_xyzt_units("mm")
    else:
        own = header.copy()
        own.set_data_dtype(stored.dtype)
        own.set_slope_inter(1, 0)
        own["cal_min"] = own["cal_max"] = 0
        image = kind(stored.reshape(header.get_data_shape(), order="F"), None, own)
    image.header["descrip"] = _SHORT_DESCRIPTION
    image.header.extensions.append(Nifti1Extension("comment", description.encode()))
    ending = ".nii.gz" if output.name.endswith(".gz") else ".nii"

    def write(temporary: Path) -> None:
        named = temporary.with_name(temporary.name + ending)  # NiBabel compresses by the name
        nib.save(image, named)
        named.replace(temporary)

    write_whole(output, write)
