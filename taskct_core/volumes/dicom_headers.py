"""DICOM headers: read without trust, and every value in them that a volume needs, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset

from taskct_core.errors import DataError

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
RESCALE = ("RescaleSlope", "RescaleIntercept")
_NUMBERS_OF = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
# Where the functional groups of a multi-frame file keep what a classic header has at its top.
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
}
_TOP = ("Rows", "Columns", "PixelPaddingValue", "PixelPaddingRangeLimit")


def is_dicom(file: Path) -> bool:
    """Whether a file's bytes begin as DICOM, with the preamble or, as old ones do, without."""
    with file.open("rb") as stream:
        start = stream.read(132)
    return start[128:] == b"DICM" or start[:2] in (b"\x02\x00", b"\x08\x00")


def read_header(file: Path, tags: Sequence[str] | None = None) -> Dataset:
    """Read a file whole, or without pixels the tags named.

    Raises:
        DataError: if it is no DICOM file or damaged.
    """
    try:
        header = pydicom.dcmread(
            file,
            force=is_dicom(file),
            stop_before_pixels=tags is not None,
            specific_tags=None if tags is None else list(tags),
        )
        if (
            "TransferSyntaxUID" not in header.file_meta
        ):  # no meta group: the encoding that was found is the syntax
            header.file_meta.TransferSyntaxUID = _syntax_of(header)
        return header
    except Exception as error:  # a mutated file fails in many ways inside pydicom
        raise DataError(
            "the file must be DICOM",
            f"{file} ({' '.join(str(error).split()) or type(error).__name__})",
            "It may be truncated: copy or export it again.",
        ) from None


def value(header: Dataset, tag: str) -> Any:  # noqa: ANN401  its type is the tag's, and files err
    """What a tag holds; None where it is absent, empty or cannot be read."""
    try:
        found = header.get(tag)
    except Exception:  # pydicom converts a value when it is asked for, and a mutated one fails in many ways
        return None
    return None if found is None or found == "" else found


def numbers(file: Path, header: Dataset, tag: str, count: int = 1) -> list[float]:
    """A tag's numbers.

    Raises:
        DataError: unless it holds just so many, all finite.
    """
    found = value(header, tag)
    try:
        values = [float(v) for v in (found if count > 1 else [found])]
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise DataError(
            f"{tag} must hold {count} finite number{'s' if count > 1 else ''}",
            f"{file}: {str(found)[:80]}",
            "The header is damaged: copy or export the file again.",
        )
    return values


def count_of(file: Path, header: Dataset, tag: str, absent: int) -> int:
    """A tag's whole number, at least 0; ``absent`` where the tag is not there."""
    if tag not in header:
        return absent
    number = numbers(file, header, tag)[0]
    if not 0 <= number < 2**31:
        raise DataError(f"{tag} must be a count", f"{file}: {number:g}", "Copy or export the file again.")
    return int(number)


def frames_of(file: Path, header: Dataset) -> list[Dataset]:
    """One classic header a frame: of a classic file itself, of a multi-frame file from its functional groups.

    Raises:
        DataError: if a multi-frame file does not tell where its frames lie.
    """
    count = count_of(file, header, "NumberOfFrames", 1)
    groups = value(header, "PerFrameFunctionalGroupsSequence")
    if count <= 1 and groups is None:
        return [header]
    if groups is None or len(groups) != count or not count:
        raise DataError(
            "a multi-frame file must tell where each frame lies (PerFrameFunctionalGroupsSequence)",
            f"{file}: {count} frames, {'none' if groups is None else len(groups)} of them placed",
            "Export the series as classic CT images or as Enhanced CT.",
        )
    shared = value(header, "SharedFunctionalGroupsSequence") or [Dataset()]
    return [_flat(header, frame, shared[0]) for frame in groups]


def check_frame(file: Path, header: Dataset, rescale: bool) -> None:
    """Check that a frame tells its geometry and, if wanted, its rescaling to HU.

    Raises:
        DataError: naming the tags that are missing or hold no numbers.
    """
    missing = [tag for tag in GEOMETRY if value(header, tag) is None]
    if missing:
        raise DataError(
            "a DICOM slice must tell its geometry",
            f"{file} without {', '.join(missing)}",
            "It may be no slice of a CT: move it elsewhere, or export the series again.",
        )
    missing = [tag for tag in RESCALE if rescale and value(header, tag) is None]
    if missing:
        raise DataError(
            "a CT slice must tell its rescaling to HU",
            f"{file} without {', '.join(missing)}",
            "Stored values alone are no HU: export the series again with its rescaling.",
        )
    for tag in (*GEOMETRY, *(RESCALE if rescale else ())):
        numbers(file, header, tag, _NUMBERS_OF.get(tag, 1))
    samples = count_of(file, header, "SamplesPerPixel", 1)
    if samples > 1:
        raise DataError(
            "a CT slice has one grey value a pixel",
            f"{file}: {samples} samples",
            "Export the original series.",
        )


def _flat(header: Dataset, frame: Dataset, shared: Dataset) -> Dataset:
    flat = Dataset()
    for tag in _TOP:
        if value(header, tag) is not None:
            setattr(flat, tag, value(header, tag))
    for tag, sequence in _GROUPS.items():
        for group in (frame, shared):
            items = value(group, sequence)
            found = value(items[0], tag) if items else None
            if found is not None:
                setattr(flat, tag, found)
                break
    return flat


def _syntax_of(header: Dataset) -> pydicom.uid.UID:
    is_implicit, is_little = header.original_encoding
    if is_implicit:
        return pydicom.uid.ImplicitVRLittleEndian
    return pydicom.uid.ExplicitVRLittleEndian if is_little else pydicom.uid.ExplicitVRBigEndian
