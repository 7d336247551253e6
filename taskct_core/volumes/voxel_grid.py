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
# Of voxels in mm, whatever they are called: what no clinical CT has is a mistaken unit.
SMALLEST_MM, LARGEST_PIXEL_MM, LARGEST_STEP_MM = 0.1, 10.0, 20.0


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

    def from_canonical(self, voxels: NDArray[Scalar]) -> NDArray[Scalar]:
        """The inverse of ``to_canonical``."""
        back = ornt_transform(CANONICAL, io_orientation(self.affine))
        return np.asarray(apply_orientation(voxels.transpose(2, 1, 0), back))

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

    def with_spacing(self, spacing_mm: tuple[float, float, float]) -> VoxelGrid:
        """The same grid with other distances, given as ``spacing_mm`` gives them."""
        slice_, row, column = spacing_mm
        sizes = np.empty(3)
        sizes[:] = [(column, row, slice_)[int(axis)] for axis in self._turn()[:, 0]]
        affine = self.affine.copy()
        affine[:3, :3] *= sizes / nib.affines.voxel_sizes(affine)
        return VoxelGrid(self.shape, affine)

    def step_along(self, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """The step in mm along the voxel axis that lies nearest a direction, forwards in that direction."""
        axes = self.affine[:3, :3]
        along = direction @ (axes / nib.affines.voxel_sizes(self.affine))
        nearest = int(np.argmax(np.abs(along)))
        return np.asarray(axes[:, nearest] * np.sign(along[nearest]))

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


def axes_of(affine: NDArray[np.float64]) -> str:
    """Where the stored axes grow to, e.g. "LPS"."""
    return "".join(str(letter) for letter in nib.aff2axcodes(affine))


def check_grid(grid: VoxelGrid, name: str, is_overridden: bool = False) -> None:
    """Raise a DataError unless the image has three axes and three independent spacings that a CT can have.

    Args:
        is_overridden: the spacing is known better than the header knows it.
    """
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
    if not is_overridden:
        _check_plausible(grid, name)


def _check_plausible(grid: VoxelGrid, name: str) -> None:
    step, *pixel = grid.spacing_mm()
    limits = f"pixels of {SMALLEST_MM} to {LARGEST_PIXEL_MM} mm and slices {SMALLEST_MM} to {LARGEST_STEP_MM} mm apart"
    if min(step, *pixel) < SMALLEST_MM or max(pixel) > LARGEST_PIXEL_MM or step > LARGEST_STEP_MM:
        raise DataError(
            f"a CT has {limits}",
            f"{name}: pixels of {pixel[1]:.4g} x {pixel[0]:.4g} mm, slices {step:.4g} mm apart",
            "Check the header's unit of length (xyzt_units), or set source.spacing_mm.",
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


def place_on(
    mask: NDArray[np.bool_], image: VoxelGrid, part: VoxelGrid, voxels: NDArray[np.bool_], part_name: str
) -> None:
    """Set what a smaller grid's voxels show in a mask on an image's canonical grid.

    Args:
        mask: ``(slice, row, column)``; changed here.
        voxels: of ``part``, as it stores them.

    Raises:
        DataError: if the part has other directions or spacings, lies between the image's voxels, or sticks out.
    """
    whole, piece = image.canonical(), part.canonical()
    place = (np.linalg.inv(whole.affine) @ piece.affine)[:3, 3]
    start = np.rint(place).astype(int)[::-1]  # slice, row, column
    stop = start + piece.shape[::-1]
    turned = not np.allclose(whole.affine[:3, :3], piece.affine[:3, :3], rtol=0, atol=0.01)
    sticks_out = (start < 0).any() or (stop > mask.shape).any()
    if turned or sticks_out or np.abs(place - np.rint(place)).max() > 0.3:
        raise DataError(
            "a segmentation must lie on its image's voxels",
            f"{part_name}: from voxel {np.round(place, 2).tolist()} (column, row, slice) on, shape {piece.shape}, "
            f"spacing {_in_mm(nib.affines.voxel_sizes(piece.affine))}; the image has shape {whole.shape}, "
            f"spacing {_in_mm(nib.affines.voxel_sizes(whole.affine))}",
            "Check that it belongs to this series, or resample it.",
        )
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] |= part.to_canonical(voxels)


def _in_mm(sizes: NDArray[np.float64]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes) + " mm"
