"""A made-up abdomen, small and recognisable, and how to write it as NIfTI and DICOM; no real patient is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SPACING_MM = (4.0, 0.8, 0.8)
SLICES, SIDE = 8, 56
LIVER, TUMOUR = 1, 2


def make_abdomen(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """HU int16 and labels uint8, ``(slice, row, column)``, in the axes of ``Volume``.

    Lungs in the upper slices, the liver on the patient's right, tapering downwards, with a tumour in front; the spine
    behind; noise as a scan has it.
    """
    rng = np.random.default_rng(seed)
    k, y, x = np.mgrid[0:SLICES, 0:SIDE, 0:SIDE].astype(float)
    y, x = (y + 0.5) / SIDE * 2 - 1, (x + 0.5) / SIDE * 2 - 1
    hu = np.full(k.shape, -1000.0)
    hu[(x / 0.9) ** 2 + (y / 0.7) ** 2 < 1] = -100
    hu[(x / 0.82) ** 2 + (y / 0.62) ** 2 < 1] = 45
    hu[((np.abs(x) - 0.45) / 0.3) ** 2 + ((y + 0.25) / 0.25) ** 2 < (k - 4) / 5] = -800
    hu[x**2 + (y - 0.45) ** 2 < 0.015] = 750
    labels = np.zeros(k.shape, np.uint8)
    labels[((x + 0.4) / (0.2 + 0.02 * k)) ** 2 + ((y - 0.12) / 0.3) ** 2 < 1] = LIVER
    labels[(x + 0.45) ** 2 + (y + 0.0) ** 2 + ((k - 3) / 10) ** 2 < 0.012] = TUMOUR
    hu[labels == LIVER], hu[labels == TUMOUR] = 105, 55
    return (hu + rng.normal(0, 6, hu.shape)).round().clip(-1024).astype(np.int16), labels


def affine_of(axes: str = "LPS", spacing_mm: tuple[float, ...] = SPACING_MM) -> np.ndarray:
    """Affine of arrays ``(column, row, slice)`` whose axes a header says to grow to ``axes``."""
    rows = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (letter, spacing) in enumerate(zip(axes, spacing_mm[::-1], strict=True)):
        row, sign = rows[letter]
        affine[row, column] = sign * spacing
    return affine


def nifti_of(voxels: np.ndarray, affine: np.ndarray | None = None) -> nib.Nifti1Image:
    """Canonical voxels as an image, stored ``(column, row, slice)``."""
    stored = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    return nib.Nifti1Image(stored, affine_of() if affine is None else affine)


def write_lits(
    folder: Path,
    hu: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    name: str = "1",
    ending: str = ".nii.gz",
) -> None:
    """A LiTS pair of the abdomen, or with what is given in its place."""
    right_hu, right_labels = make_abdomen()
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nifti_of(right_hu if hu is None else hu, affine), folder / f"volume-{name}{ending}")
    labels = right_labels if labels is None else labels
    nib.save(nifti_of(labels, affine), folder / f"segmentation-{name}{ending}")


def write_dicom(
    folder: Path,
    hu: np.ndarray,
    intercept: float = -1024,
    edit: Callable[[FileDataset, int], None] = lambda header, index: None,
    series: str | None = None,
) -> list[Path]:
    """Canonical HU as a classic CT series of unsigned pixels, one file a slice."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid()
    study, frame_of_reference, files = generate_uid(), generate_uid(), []
    for index, plane in enumerate(hu):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        header = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        header.Modality, header.PatientID, header.PatientName = "CT", "Q7", "Made^Up"
        header.PatientBirthDate, header.PatientSex, header.StudyID = "", "", "1"
        header.StudyDate, header.StudyTime, header.AccessionNumber = "20200101", "000000", ""
        header.ReferringPhysicianName, header.SeriesNumber = "", 1
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.FrameOfReferenceUID, header.PositionReferenceIndicator = frame_of_reference, ""
        header.InstanceNumber, header.Manufacturer = index + 1, "none"
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [0, 0, SPACING_MM[0] * index]
        header.PixelSpacing, header.SliceThickness = list(SPACING_MM[1:]), SPACING_MM[0]
        header.RescaleSlope, header.RescaleIntercept = 1, intercept
        header.Rows, header.Columns = plane.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 0
        header.PixelData = (plane.astype(int) - int(intercept)).astype("<u2").tobytes()
        edit(header, index)
        files.append(folder / f"{index:03d}.dcm")
        header.save_as(files[-1], enforce_file_format=True)
    return files


def write_dicom_patient(folder: Path, labels: np.ndarray | None = None, intercept: float = 0) -> None:
    """A CT series with a liver and a tumour mask series of 0 and 1."""
    hu, right = make_abdomen()
    labels = right if labels is None else labels
    write_dicom(folder / "image", hu)
    write_dicom(folder / "liver", (labels > 0).astype(np.int16), intercept)
    write_dicom(folder / "tumour", (labels == TUMOUR).astype(np.int16), intercept)
