"""Where voxels lie in the patient, and the turn to the axis order of ``Volume``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import nibabel as nib
import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import NDArray

from taskct_core.errors import ConfigError, DataError

Scalar = TypeVar("Scalar", bound=np.generic)

# The direction in which columns, rows and slices of a Volume grow: Left, Posterior, Superior.
CANONICAL = axcodes2ornt(("L", "P", "S"))


@dataclass(frozen=True)
class VoxelGrid:
    """Shape and affine of an image as stored, axes ``(i, j, k)``; millimetres in NIfTI's RAS+ frame."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    def to_canonical(self, voxels: NDArray[Scalar]) -> NDArray[Scalar]:
        """Flip and permute ``(i, j, k)`` voxels to ``(slice, row, column)`` as ``Volume`` has them.

        Axes that lie obliquely go to the nearest body axis; voxels are never interpolated.
        """
        turned = apply_orientation(voxels, self._turn())
        return np.ascontiguousarray(turned.transpose(2, 1, 0))

    def canonical(self) -> VoxelGrid:
        """The grid after the turn, its axes ``(column, row, slice)``."""
        turn = self._turn()
        shape = np.empty(3, int)
        shape[turn[:, 0].astype(int)] = self.shape
        return VoxelGrid(tuple(int(n) for n in shape), self.affine @ inv_ornt_aff(turn, self.shape))

    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the canonical axes as ``Volume`` has them: ``(slice, row, column)``."""
        column, row, slice_ = (float(s) for s in nib.affines.voxel_sizes(self.canonical().affine))
        return slice_, row, column

    def corners_mm(self) -> NDArray[np.float64]:
        """Positions of the eight corner voxels, (8, 3)."""
        corners = list(product(*((0, n - 1) for n in self.shape)))
        return nib.affines.apply_affine(self.affine, corners)

    def _turn(self) -> NDArray[np.float64]:
        return ornt_transform(io_orientation(self.affine), CANONICAL)


def with_orientation(affine: NDArray[np.float64], orientation: str) -> NDArray[np.float64]:
    """Replace the directions of an affine, keeping its voxel sizes.

    Args:
        orientation: three letters, e.g. "LPS": the first voxel axis grows to the patient's left, the
            second to posterior, the third to superior.

    Raises:
        ConfigError: if the letters do not name three different axes.
    """
    letters = orientation.upper()
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    if len(letters) != 3 or {axes.get(c, (-1, 0))[0] for c in letters} != {0, 1, 2}:
        raise ConfigError(
            "orientation must be three letters, one each of L/R, P/A and S/I",
            repr(orientation),
            "Example: LPS for voxels stored in DICOM's order.",
        )
    turned = np.eye(4)
    turned[:3, :3] = 0
    for column, (letter, size) in enumerate(zip(letters, nib.affines.voxel_sizes(affine), strict=True)):
        row, sign = axes[letter]
        turned[row, column] = sign * size
    return turned


def check_grid(grid: VoxelGrid, name: str) -> None:
    """Raise a DataError unless the image has three axes and three positive, independent spacings."""
    if len(grid.shape) != 3:
        raise DataError(
            "a volume must have three axes",
            f"{name}: shape {grid.shape}",
            "Split a series of volumes into one file each.",
        )
    sizes = nib.affines.voxel_sizes(grid.affine)
    directions = grid.affine[:3, :3]
    if not (np.isfinite(grid.affine).all() and (sizes > 0).all()):
        raise DataError(
            "voxel spacing must be positive", f"{name}: {_in_mm(sizes)}", "Correct the file's header."
        )
    if abs(np.linalg.det(directions / sizes)) < 0.1:
        raise DataError(
            "the voxel axes must point in three different directions",
            f"{name}: affine {np.round(directions, 3).tolist()}",
            "Correct the file's header.",
        )


def check_same_grid(image: VoxelGrid, labels: VoxelGrid, image_name: str, labels_name: str) -> None:
    """Raise a DataError unless labels lie on the image's voxels: no corner off by half a voxel or more."""
    a, b = image.canonical(), labels.canonical()
    if a.shape != b.shape:
        raise DataError(
            "a volume and its labels must have the same shape",
            f"{image_name}: {a.shape}, {labels_name}: {b.shape} (column, row, slice)",
            "Check that they belong to the same patient.",
        )
    offset = float(np.linalg.norm(a.corners_mm() - b.corners_mm(), axis=1).max())
    tolerance = 0.5 * float(nib.affines.voxel_sizes(a.affine).min())
    if offset >= tolerance:
        raise DataError(
            f"a volume and its labels must have the same affine (corners within {tolerance:.3g} mm)",
            f"{labels_name} lies up to {offset:.3g} mm away from {image_name}",
            "Resample the labels to the volume; if only the header is wrong, copy the volume's affine, "
            "or name the orientation of both in source.orientation.",
        )


def _in_mm(sizes: NDArray[np.float64]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes) + " mm"
