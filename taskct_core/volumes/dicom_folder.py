"""What lies in a folder of DICOM files: one series of images, segmentations, and what is passed over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from taskct_core.errors import DataError
from taskct_core.volumes.dicom_headers import SEG_CLASSES, is_dicom, read_header, value
from taskct_core.volumes.finding import Finding

_TAGS = (
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "IssuerOfPatientID",
    "Rows",
    "NumberOfFrames",
    "PerFrameFunctionalGroupsSequence",
)
_RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_ENDINGS = (".dcm", ".ima")
# Files that nobody takes for slices; anything else that is passed over is worth a warning.
_FAMILIAR = (".txt", ".csv", ".json", ".xml", ".md", ".pdf", ".html", ".gz", ".nii", ".png", ".jpg", ".yaml")
_NO_NAMES = (
    "",
    "anonymous",
    "anonymized",
    "anonymised",
    "anon",
    "unknown",
    "none",
    "na",
    "patient",
    "deidentified",
)


@dataclass(frozen=True)
class DicomFolder:
    """The DICOM files directly in a folder, by name.

    Attributes:
        images: the files of its one series.
        num_slices: how many slices they hold.
        segmentations: DICOM SEG files.
        findings: what was passed over.
        person: whom the headers name, as a hash; None where they name nobody.
    """

    images: tuple[Path, ...] = ()
    num_slices: int = 0
    segmentations: tuple[Path, ...] = ()
    findings: tuple[Finding, ...] = ()
    person: str | None = None


def scan_folder(folder: Path) -> DicomFolder:
    """Sort the files of a folder; reads no pixel.

    Raises:
        DataError: if the images belong to more than one series, or there are contours (RTSTRUCT).
    """
    images: list[tuple[Path, Dataset]] = []
    segmentations: list[Path] = []
    skipped: list[Path] = []
    for file in sorted(folder.iterdir()):
        if not file.is_file():
            continue
        if not _may_be_dicom(file):
            skipped.append(file)
            continue
        header = read_header(file, _TAGS)
        _refuse_contours(file, header)
        if value(header, "SOPClassUID") in SEG_CLASSES or value(header, "Modality") == "SEG":
            segmentations.append(file)
        elif value(header, "Rows") is None and value(header, "Modality") not in (None, "CT"):
            skipped.append(file)  # a report, a presentation state
        else:
            images.append((file, header))
    _check_one_series(folder, images)
    return DicomFolder(
        images=tuple(file for file, _ in images),
        num_slices=sum(_frames(header) for _, header in images),
        segmentations=tuple(segmentations),
        findings=_passed_over(folder, skipped),
        person=_person(images[0][1]) if images else None,
    )


def _may_be_dicom(file: Path) -> bool:
    if file.name.startswith(".") or file.name == "DICOMDIR":
        return False
    return file.suffix.lower() in _ENDINGS or is_dicom(file)


def _frames(header: Dataset) -> int:
    groups = value(header, "PerFrameFunctionalGroupsSequence")
    return 1 if groups is None else len(groups)


def _refuse_contours(file: Path, header: Dataset) -> None:
    if value(header, "SOPClassUID") == _RTSTRUCT_CLASS or value(header, "Modality") == "RTSTRUCT":
        raise DataError(
            "masks must be voxels: mask series, DICOM SEG or NIfTI labels",
            f"{file}: RTSTRUCT, which holds contours",
            "Convert it to DICOM SEG or NIfTI, e.g. with 3D Slicer or plastimatch, and move it elsewhere.",
        )


def _check_one_series(folder: Path, images: list[tuple[Path, Dataset]]) -> None:
    counts: dict[str, int] = {}
    for _, header in images:
        uid = str(value(header, "SeriesInstanceUID") or "(none)")
        counts[uid] = counts.get(uid, 0) + 1
    if len(counts) > 1:
        listed = ", ".join(f"{uid} ({count} files)" for uid, count in counts.items())
        raise DataError(
            "a folder must hold one DICOM series",
            f"{folder}: {len(counts)} series: {listed}",
            "Keep one series in the folder and move the others elsewhere.",
        )


def _passed_over(folder: Path, skipped: list[Path]) -> tuple[Finding, ...]:
    if not skipped:
        return ()
    odd = [file for file in skipped if not _is_familiar(file)]
    names = ", ".join(file.name for file in (odd or skipped)[:5]) + (
        ", ..." if len(odd or skipped) > 5 else ""
    )
    return (
        Finding(
            "warning" if odd else "note",
            "a series' folder holds its slices",
            f"{folder.name}: {len(skipped)} files passed over, as they are no DICOM images: {names}",
            "Move them elsewhere if they do not belong; copy them again if they are slices.",
        ),
    )


def _is_familiar(file: Path) -> bool:
    hidden = file.name.startswith(".") or file.name in ("DICOMDIR", "LICENSE", "README", "Thumbs.db")
    return hidden or file.suffix.lower() in _FAMILIAR


def _person(header: Dataset) -> str | None:
    """A hash of the patient's ID, or of the study where the ID was removed."""
    name = str(value(header, "PatientID") or "")
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    if plain in _NO_NAMES or not plain.strip("0"):
        name = str(value(header, "StudyInstanceUID") or "")
    issuer = value(header, "IssuerOfPatientID") or ""
    return hashlib.sha256(f"{issuer}\0{name}".encode()).hexdigest()[:16] if name else None
