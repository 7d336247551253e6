"""Derived images as a DICOM CT series: DICOM PS3.3 C.7.6.1 (derived images), C.7.5.2 (contributing equipment).

A series that was made from one keeps its patient, study, frame of reference and geometry, and refers to its images.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from taskct_core.errors import DataError
from taskct_core.volumes.dicom_series import LPS_TO_RAS, Slice
from taskct_core.volumes.voxel_grid import VoxelGrid

_OF_OTHER_PIXELS = (
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "IconImageSequence",
    "ModalityLUTSequence",
)
_SERIES = "taskct reconstruction, not for diagnosis"
_LONGEST_TEXT = 1024  # of DICOM's ST


def write_derived_series(
    output: Path, stored: NDArray[np.floating], slices: Sequence[Slice], description: str
) -> None:
    """Write voxels ``(column, row, slice)`` as a series derived from ``slices``.

    Raises:
        DataError: if the slices are frames of one file.
    """
    if len({slice_.file for slice_ in slices}) < len(slices):
        raise DataError(
            "a DICOM series is written for a series of one file a slice",
            f"{slices[0].file}, which holds several",
            "Name an OUTPUT that ends in .nii.gz.",
        )
    series = generate_uid()

    def image_of(number: int) -> Dataset:
        source = slices[number].header
        image = copy.deepcopy(source)
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.SOPClassUID
        reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
        image.SourceImageSequence = [reference]
        kind = [*(source.get("ImageType") or []), "", "", "AXIAL"][2] or "AXIAL"
        image.ImageType = ["DERIVED", "SECONDARY", kind]
        if source.get("SeriesNumber") is not None:
            image.SeriesNumber = int(source.SeriesNumber) + 1000
        for tag in _OF_OTHER_PIXELS:
            if tag in image:
                delattr(image, tag)
        return image

    _write_series(output, stored, series, image_of, description)


def write_new_series(output: Path, stored: NDArray[np.floating], grid: VoxelGrid, description: str) -> None:
    """Write voxels ``(column, row, slice)`` of a grid as a series without a patient's name."""
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    affine = LPS_TO_RAS @ grid.affine
    columns, rows, steps = (affine[:3, axis] for axis in range(3))

    def image_of(number: int) -> Dataset:
        image = Dataset()
        image.SOPClassUID, image.Modality = CTImageStorage, "CT"
        image.StudyInstanceUID, image.FrameOfReferenceUID = study, frame
        image.PatientName = image.PatientID = image.PatientBirthDate = image.PatientSex = ""
        image.StudyDate = image.StudyTime = image.StudyID = image.AccessionNumber = ""
        image.ReferringPhysicianName = image.Manufacturer = image.PositionReferenceIndicator = ""
        image.KVP = image.AcquisitionNumber = None
        image.SeriesNumber, image.InstanceNumber = 1, number + 1
        image.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        image.Rows, image.Columns = stored.shape[1], stored.shape[0]
        image.PixelSpacing = [_decimal(np.linalg.norm(axis)) for axis in (rows, columns)]
        image.SliceThickness = _decimal(np.linalg.norm(steps))
        directions = (*columns / np.linalg.norm(columns), *rows / np.linalg.norm(rows))
        image.ImageOrientationPatient = list(map(_decimal, directions))
        image.ImagePositionPatient = list(map(_decimal, affine[:3, 3] + number * steps))
        return image

    _write_series(output, stored, series, image_of, description)


def _write_series(
    output: Path,
    stored: NDArray[np.floating],
    series: str,
    image_of: Callable[[int], Dataset],
    description: str,
) -> None:
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    now = datetime.now()
    try:
        for number in range(stored.shape[2]):
            image = image_of(number)
            _set_pixels(image, stored[:, :, number].T)
            _tell_origin(image, series, description, now)
            image.save_as(partial / f"{number + 1:04d}.dcm", enforce_file_format=True)
        partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _set_pixels(image: Dataset, hu: NDArray[np.floating]) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 1
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1", "0", "HU"
    image.PixelData = np.ascontiguousarray(hu.round().clip(-32768, 32767).astype("<i2")).tobytes()
    image["PixelData"].VR = "OW"


def _tell_origin(image: Dataset, series: str, description: str, now: datetime) -> None:
    instance = generate_uid()
    image.SOPInstanceUID, image.SeriesInstanceUID = instance, series
    image.SeriesDescription = _SERIES
    image.DerivationDescription = description[:_LONGEST_TEXT]
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    image.SeriesDate = image.ContentDate = image.InstanceCreationDate = date
    image.SeriesTime = image.ContentTime = image.InstanceCreationTime = time
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109103", "DCM"
    purpose.CodeMeaning = "Modifying Equipment"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.Manufacturer, equipment.SoftwareVersions = "taskct", version("taskct")
    image.ContributingEquipmentSequence = [*(image.get("ContributingEquipmentSequence") or []), equipment]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta = meta


def _decimal(number: float | np.floating) -> str:
    """As DICOM's DS, at most 16 characters."""
    return f"{float(number):.10g}"[:16]
