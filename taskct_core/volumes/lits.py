"""The LiTS layout: ``volume-N.nii[.gz]`` with ``segmentation-N.nii[.gz]``, anywhere below one folder."""

from __future__ import annotations

import re
from pathlib import Path

from taskct_core.errors import DataError
from taskct_core.volumes.grid_override import NO_OVERRIDES, GridOverrides
from taskct_core.volumes.nifti import is_nifti_name
from taskct_core.volumes.nifti_reference import Classes, NiftiReference, nifti_reference

FILE_NAME = re.compile(r"(volume|segmentation)-(.+)\.nii(\.gz)?")


def lits_patients(
    folder: Path,
    overrides: GridOverrides = NO_OVERRIDES,
    *,
    classes: Classes | None = None,
    unlabelled: bool = False,
) -> list[NiftiReference]:
    """Pair the folder's volumes with their labels and check the headers.

    Args:
        unlabelled: take volumes without a label file, too.

    Returns:
        One reference a patient, named ``volume-N``, in numerical order.

    Raises:
        DataError: if nothing is found, a file has no partner, or headers are unreadable or disagree.
    """
    volumes, labels = _find(folder, "volume"), _find(folder, "segmentation")
    if not volumes and not labels:
        raise DataError(
            "a LiTS folder must hold volume-N.nii[.gz] and segmentation-N.nii[.gz]",
            f"{folder}: neither found",
            "Check source.path, rename the files, or name them with source.kind: nifti.",
        )
    for number in sorted(volumes.keys() ^ labels.keys(), key=_numerically):
        if number in volumes and unlabelled:
            continue
        file = volumes.get(number) or labels.get(number)
        partner = "segmentation" if number in volumes else "volume"
        raise DataError(
            "each volume must have a label file and each label file a volume",
            f"{file} without {partner}-{number}.nii[.gz]",
            "Add the missing file, move this one out of the folder, or take volumes without labels with "
            "source.unlabelled: true.",
        )
    numbers = sorted(volumes, key=_numerically)
    overrides.check_used([f"volume-{number}" for number in numbers])
    return [
        nifti_reference(
            f"volume-{number}",
            volumes[number],
            labels.get(number),
            classes=classes,
            override=overrides.of(f"volume-{number}"),
        )
        for number in numbers
    ]


def _find(folder: Path, kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in sorted(folder.rglob(f"{kind}-*.nii*")):
        match = FILE_NAME.fullmatch(entry.name)
        file = _file_of(entry)
        if match is None or file is None:
            continue
        if match[2] in found:
            raise DataError(
                "a patient must have one volume and one label file",
                f"{found[match[2]]} and {file}",
                "Keep one of them.",
            )
        found[match[2]] = file
    return found


def _file_of(entry: Path) -> Path | None:
    """The file, or the one inside a folder that is called like one; None where that is found by itself."""
    if not entry.is_dir():
        return entry
    inside = [file for file in sorted(entry.iterdir()) if file.is_file() and is_nifti_name(file)]
    if len(inside) > 1:
        raise DataError(
            "a folder that is called like a NIfTI file must hold one",
            f"{entry}: {', '.join(file.name for file in inside)}",
            "Move the others elsewhere.",
        )
    return inside[0] if inside and not FILE_NAME.fullmatch(inside[0].name) else None


def _numerically(number: str) -> tuple[bool, int, str]:
    return (False, int(number), "") if number.isdecimal() else (True, 0, number)
