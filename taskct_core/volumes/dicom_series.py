"""One DICOM series: the order of its slices, their grid, and their voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from taskct_core.errors import DataError
from taskct_core.hounsfield import LOWEST_STORED_HU
from taskct_core.volumes.dicom_headers import GEOMETRY, check_frame, frames_of, numbers, read_header, value
from taskct_core.volumes.dicom_pixels import padding_of, rescaling, stored_pixels
from taskct_core.volumes.voxel_grid import VoxelGrid, check_grid

SAME_POSITION_MM = 0.01
STEP_TOLERANCE = 0.05  # of the median step; scanners round positions to 0.1 mm at worst
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NUMBERS = {"ImageOrientationPatient": 6, "PixelSpacing": 2}


@dataclass(frozen=True)
class Slice:
    """One slice of a series: a classic file, or a frame of a multi-frame one."""

    file: Path
    header: Dataset
    stored: NDArray[Any]

    @property
    def position(self) -> NDArray[np.float64]:
        """Of the first pixel, in DICOM's LPS+ mm."""
        return np.array(numbers(self.file, self.header, "ImagePositionPatient", 3))

    def tag(self, name: str) -> NDArray[np.float64]:
        """The numbers of a geometry tag."""
        return np.array(numbers(self.file, self.header, name, _NUMBERS.get(name, 1)))

    def hu(self) -> tuple[NDArray[Any], int]:
        """HU, -1024 where the scanner says it is padding, and how many pixels are."""
        slope, intercept = rescaling(self.file, self.header)
        if slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < 2**14:
            values = self.stored.astype(np.int32) * int(slope) + int(intercept)
        else:
            values = (self.stored * np.float64(slope) + intercept).astype(np.float32)
        padding = padding_of(self.file, self.header, self.stored)
        if padding is None:
            return values, 0
        values[padding] = LOWEST_STORED_HU
        return values, int(np.count_nonzero(padding))


def read_slices(files: tuple[Path, ...], rescale: bool) -> tuple[list[Slice], VoxelGrid]:
    """Read a series, sorted along its slice normal.

    Args:
        rescale: the slices must tell how their values become HU; masks need not.

    Returns:
        The slices, and their grid with axes ``(column, row, slice)``.

    Raises:
        DataError: if a file is unreadable or no CT slice, or the slices do not form one regular stack
            (different shapes, spacings or directions; doubled or missing slices).
    """
    slices = [slice_ for file in files for slice_ in _slices_of(file, rescale)]
    _check_alike(slices)
    orientation = slices[0].tag("ImageOrientationPatient")
    normal = np.cross(orientation[:3], orientation[3:])
    slices.sort(key=lambda slice_: float(normal @ slice_.position))
    step = _slice_step(slices, normal)
    grid = grid_of(slices[0], step, len(slices))
    check_grid(grid, str(files[0].parent))
    return slices, grid


def stack(planes: list[NDArray[Any]]) -> NDArray[Any]:
    """Planes ``(row, column)`` -> voxels ``(column, row, slice)``."""
    return np.stack(planes).transpose(2, 1, 0)


def grid_of(first: Slice, step: NDArray[np.float64], count: int) -> VoxelGrid:
    """Grid with axes (column, row, slice): the equation of DICOM PS3.3 C.7.6.2.1.1, turned to RAS+."""
    orientation = first.tag("ImageOrientationPatient")
    row_spacing, column_spacing = first.tag("PixelSpacing")
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * column_spacing  # along a row, the column index grows
    affine[:3, 1] = orientation[3:] * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    rows, columns = first.stored.shape
    return VoxelGrid((columns, rows, count), LPS_TO_RAS @ affine)


def _slices_of(file: Path, rescale: bool) -> list[Slice]:
    header = read_header(file)
    frames = frames_of(file, header)
    for frame in frames:
        check_frame(file, frame, rescale)
    pixels = stored_pixels(file, header)
    return [Slice(file, frame, plane) for frame, plane in zip(frames, pixels, strict=True)]


def _check_alike(slices: list[Slice]) -> None:
    first = slices[0]
    for slice_ in slices[1:]:
        for tag in GEOMETRY[1:]:
            a, b = first.tag(tag), slice_.tag(tag)
            if not np.allclose(a, b, rtol=0, atol=1e-3):
                raise DataError(
                    f"all slices of a series must have the same {tag}",
                    f"{b.tolist()} in {slice_.file}, {a.tolist()} in {first.file}",
                    "Remove the slices that do not belong, such as a scout view.",
                )


def _slice_step(slices: list[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vector from one slice to the next, after checking that the slices are equidistant."""
    if len(slices) == 1:
        first = slices[0]
        has_thickness = value(first.header, "SliceThickness") is not None
        return normal * (numbers(first.file, first.header, "SliceThickness")[0] if has_thickness else 0.0)
    positions = np.array([slice_.position for slice_ in slices])
    steps = np.diff(positions @ normal)
    typical = float(np.median(steps))
    for i, step in enumerate(steps):
        first_file, second_file = slices[i].file, slices[i + 1].file
        if step < SAME_POSITION_MM:
            raise DataError(
                "each slice position must occur once",
                f"{first_file} and {second_file} share one",
                "Remove one of them.",
            )
        if abs(step - typical) > STEP_TOLERANCE * typical:
            raise DataError(
                f"slices must be equidistant (within {STEP_TOLERANCE:.0%})",
                f"{step:.4g} mm from {first_file} to {second_file.name}, {typical:.4g} mm elsewhere",
                "Add the missing slices, remove doubled ones, or resample the series.",
            )
    return np.asarray((positions[-1] - positions[0]) / (len(slices) - 1))
