"""DICOM SEG: the segments that are liver and tumours, on the grid of the CT that they were drawn on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from taskct_core.errors import DataError
from taskct_core.schema import BACKGROUND, LABEL_OF
from taskct_core.volumes.dicom_headers import check_frame, frames_of, numbers, read_header, value
from taskct_core.volumes.dicom_pixels import stored_pixels
from taskct_core.volumes.dicom_series import LPS_TO_RAS, Slice, grid_of
from taskct_core.volumes.voxel_grid import VoxelGrid, place_on

_TUMOUR = re.compile(r"tumou?r|lesion|metasta|cancer|carcinoma|neoplasm|hcc|malignan")
_LIVER = re.compile(r"liver|hepa|leber|foie")
_NOT_LIVER = re.compile(r"vessel|vein|vena|artery|duct|portal")
_OTHER_ORGAN = re.compile(
    r"kidney|renal|lung|pulmon|pancrea|spleen|colon|bone|breast|stomach|gallbladder|prostat"
)


def read_segmentation(
    file: Path, image: VoxelGrid, only: str | None, classes: Mapping[int, str] | None
) -> NDArray[np.uint8]:
    """Read a DICOM SEG as labels on the image's canonical grid, ``(slice, row, column)``.

    Args:
        image: grid of the CT.
        only: "liver" or "tumour" where the file lies in such a folder: a single segment is then that, whatever
            it is called, and others are not looked for.
        classes: segment numbers -> "liver" or "tumour"; None goes by the segments' labels.

    Raises:
        DataError: if it is damaged, lies elsewhere, or no segment is known.
    """
    header = read_header(file)
    frames = _frames(file, header)
    structures = _structures(file, header, only, classes)
    pixels = stored_pixels(file, header)
    labels = np.full(image.canonical().shape[::-1], BACKGROUND, np.uint8)
    for number, structure in sorted(structures.items(), key=lambda item: item[1]):  # liver first
        slices = [
            Slice(file, frame, mask)
            for frame, plane in zip(frames, pixels, strict=True)
            if (mask := _mask(file, header, frame, plane, number)) is not None
        ]
        if slices:
            labels[_on_grid(slices, image)] = LABEL_OF[structure]
    return labels


def _structures(
    file: Path, header: Dataset, only: str | None, classes: Mapping[int, str] | None
) -> dict[int, str]:
    """Segment number -> "liver" or "tumour"."""
    segments = value(header, "SegmentSequence") or []
    names = {int(numbers(file, item, "SegmentNumber")[0]): _name(item) for item in segments}
    if classes is not None:
        chosen = {number: structure for number, structure in classes.items() if number in names}
    elif only is not None and len(names) == 1:
        chosen = dict.fromkeys(names, only)
    else:
        known = {number: structure_of(name) for number, name in names.items()}
        chosen = {number: name for number, name in known.items() if name is not None and only in (None, name)}
    if not chosen:
        listed = ", ".join(f"{number}: {name}" for number, name in names.items()) or "no segments"
        raise DataError(
            "a DICOM SEG must have a segment of the liver or of its tumours",
            f"{file}: {listed}",
            "Name the segments' numbers in source.classes, e.g. {1: liver, 2: tumour}.",
        )
    return chosen


def structure_of(name: str) -> str | None:
    """Liver or tumour by a segment's label; None for anything else, other organs' tumours included."""
    name = name.lower()
    if _OTHER_ORGAN.search(name):
        return None
    if _TUMOUR.search(name):
        return "tumour"
    return "liver" if _LIVER.search(name) and not _NOT_LIVER.search(name) else None


def _name(segment: Dataset) -> str:
    label = str(value(segment, "SegmentLabel") or "")
    types = value(segment, "SegmentedPropertyTypeCodeSequence") or []
    meaning = str(value(types[0], "CodeMeaning") or "") if types else ""
    return label if structure_of(label) is not None or not meaning else f"{label} ({meaning})".strip()


def _frames(file: Path, header: Dataset) -> list[Dataset]:
    if value(header, "PerFrameFunctionalGroupsSequence") is None:
        raise DataError(
            "a DICOM SEG must tell where each frame lies (PerFrameFunctionalGroupsSequence)",
            f"{file}: DICOM SEG without it",
            "Export the segmentation again, or as mask series or NIfTI.",
        )
    frames = frames_of(file, header)
    for frame in frames:
        check_frame(file, frame, rescale=False)
    return frames


def _mask(
    file: Path, header: Dataset, frame: Dataset, plane: NDArray[Any], number: int
) -> NDArray[np.bool_] | None:
    """Where a frame shows a segment; None if it is another segment's frame."""
    kind = str(value(header, "SegmentationType") or "BINARY")
    if kind == "LABELMAP":
        return np.asarray(plane == number)
    if int(numbers(file, frame, "ReferencedSegmentNumber")[0]) != number:
        return None
    if kind == "FRACTIONAL":
        return np.asarray(plane >= max(numbers(file, header, "MaximumFractionalValue")[0] / 2, 1))
    return np.asarray(plane != 0)


def _on_grid(slices: list[Slice], image: VoxelGrid) -> NDArray[np.bool_]:
    """A segment's frames on the image's canonical grid; frames without a voxel may be missing."""
    mask = np.zeros(image.canonical().shape[::-1], bool)
    for slice_ in slices:
        if not slice_.stored.any():
            continue
        orientation = slice_.tag("ImageOrientationPatient")
        normal = np.cross(orientation[:3], orientation[3:])
        to_ras = LPS_TO_RAS[:3, :3]
        grid = grid_of(slice_, to_ras @ image.step_along(to_ras @ normal), 1)
        voxels = slice_.stored.T[..., None]
        place_on(mask, image, grid, voxels, str(slice_.file))
    return mask
