"""One DICOM series: which files belong to it, their order, and their voxels with an affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from taskct_core.errors import DataError
from taskct_core.volumes.voxel_grid import VoxelGrid, check_grid

GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
RESCALE = ("RescaleSlope", "RescaleIntercept")
SAME_POSITION_MM = 0.01
STEP_TOLERANCE = 0.05  # of the median step; scanners round positions to 0.1 mm at worst
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def list_series(folder: Path) -> tuple[Path, ...]:
    """Return the DICOM files directly in a folder, by name; reads no pixel.

    Raises:
        DataError: if they belong to more than one series.
    """
    files = tuple(file for file in sorted(folder.iterdir()) if _is_dicom(file))
    counts: dict[str, int] = {}
    for file in files:
        header = _read(file, pixels=False)
        uid = str(header.get("SeriesInstanceUID", "(none)"))
        counts[uid] = counts.get(uid, 0) + 1
    if len(counts) > 1:
        listed = ", ".join(f"{uid} ({count} files)" for uid, count in counts.items())
        raise DataError(
            "a folder must hold one DICOM series",
            f"{folder}: {len(counts)} series: {listed}",
            "Keep one series in the folder and move the others elsewhere.",
        )
    return files


def read_series(files: tuple[Path, ...], rescale: bool) -> tuple[NDArray[np.generic], VoxelGrid]:
    """Read a series, sorted along its slice normal.

    Args:
        rescale: apply RescaleSlope and RescaleIntercept, which give HU; masks have none.

    Returns:
        Voxels ``(column, row, slice)`` and their grid.

    Raises:
        DataError: if a file is unreadable or no single CT slice, or the slices do not form one
            regular stack (different shapes, spacings or directions; doubled or missing slices).
    """
    slices = [(file, _read(file, pixels=True)) for file in files]
    for file, header in slices:
        _check_slice(file, header, rescale)
    _check_alike(slices)
    orientation = np.array(slices[0][1].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    slices.sort(key=lambda item: float(normal @ np.array(item[1].ImagePositionPatient, float)))
    positions = np.array([header.ImagePositionPatient for _, header in slices], float)
    step = _slice_step(slices, positions, normal)
    grid = _grid(slices[0][1], positions[0], step, len(slices))
    check_grid(grid, str(files[0].parent))
    planes = [_pixels(file, header, rescale) for file, header in slices]
    return np.stack(planes).transpose(2, 1, 0), grid


def _is_dicom(file: Path) -> bool:
    if not file.is_file() or file.name.startswith(".") or file.name == "DICOMDIR":
        return False
    if file.suffix.lower() in (".dcm", ".ima"):
        return True
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _read(file: Path, pixels: bool) -> Dataset:
    tags = None if pixels else ["SeriesInstanceUID"]
    try:
        return pydicom.dcmread(file, stop_before_pixels=not pixels, specific_tags=tags)
    except (InvalidDicomError, OSError, EOFError, ValueError) as error:
        raise DataError(
            "the file must be DICOM", f"{file} ({error})", "It may be truncated: copy or export it again."
        ) from None


def _check_slice(file: Path, header: Dataset, rescale: bool) -> None:
    missing = [tag for tag in GEOMETRY + (RESCALE if rescale else ()) if header.get(tag) is None]
    if missing:
        raise DataError(
            "a DICOM slice must tell its geometry, and a CT slice its rescaling to HU",
            f"{file} without {', '.join(missing)}",
            "Export the series as classic CT images (multi-frame files have to be split).",
        )
    if int(header.get("NumberOfFrames", 1)) > 1 or int(header.get("SamplesPerPixel", 1)) > 1:
        raise DataError(
            "a DICOM file must hold one slice with one grey value a pixel",
            f"{file}: {header.get('NumberOfFrames', 1)} frames, {header.get('SamplesPerPixel', 1)} samples",
            "Export the series as classic CT images.",
        )


def _check_alike(slices: list[tuple[Path, Dataset]]) -> None:
    first_file, first = slices[0]
    for file, header in slices[1:]:
        for tag in GEOMETRY[1:]:
            a, b = np.array(first[tag].value, float), np.array(header[tag].value, float)
            if not np.allclose(a, b, rtol=0, atol=1e-3):
                raise DataError(
                    f"all slices of a series must have the same {tag}",
                    f"{b.tolist()} in {file}, {a.tolist()} in {first_file}",
                    "Remove the slices that do not belong, such as a scout view.",
                )


def _slice_step(
    slices: list[tuple[Path, Dataset]], positions: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the vector from one slice to the next, after checking that the slices are equidistant."""
    if len(slices) == 1:
        return normal * float(slices[0][1].get("SliceThickness") or 0)
    steps = np.diff(positions @ normal)
    typical = float(np.median(steps))
    for i, step in enumerate(steps):
        first, second = slices[i][0], slices[i + 1][0]
        if step < SAME_POSITION_MM:
            raise DataError(
                "each slice position must occur once",
                f"{first} and {second} share one",
                "Remove one of them.",
            )
        if abs(step - typical) > STEP_TOLERANCE * typical:
            raise DataError(
                f"slices must be equidistant (within {STEP_TOLERANCE:.0%})",
                f"{step:.4g} mm from {first} to {second.name}, {typical:.4g} mm elsewhere",
                "Add the missing slices, remove doubled ones, or resample the series.",
            )
    return (positions[-1] - positions[0]) / (len(slices) - 1)


def _grid(header: Dataset, origin: NDArray[np.float64], step: NDArray[np.float64], count: int) -> VoxelGrid:
    """Grid with axes (column, row, slice): the equation of DICOM PS3.3 C.7.6.2.1.1, turned to RAS+."""
    orientation = np.array(header.ImageOrientationPatient, float)
    row_spacing, column_spacing = (float(s) for s in header.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * column_spacing  # along a row, the column index grows
    affine[:3, 1] = orientation[3:] * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return VoxelGrid((int(header.Columns), int(header.Rows), count), LPS_TO_RAS @ affine)


def _pixels(file: Path, header: Dataset, rescale: bool) -> NDArray[np.generic]:
    try:
        pixels = header.pixel_array
    except (
        Exception
    ) as error:  # pydicom's decoders raise many kinds, RuntimeError and plug-ins' own among them
        syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "unknown")
        raise DataError(
            "the pixels must be decodable",
            f"{file}: {syntax} ({' '.join(str(error).split())[:200]})",
            "If it is compressed, install pylibjpeg with its plug-ins or decompress it (gdcmconv --raw); "
            "otherwise copy or export it again.",
        ) from None
    if not rescale:
        return pixels
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    if slope.is_integer() and intercept.is_integer():
        return pixels.astype(np.int32) * int(slope) + int(intercept)
    return pixels * np.float32(slope) + np.float32(intercept)
