"""Which patients a source holds, and how one is read: the entry for everything downstream."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskct_core.errors import ConfigError, DataError
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.own_source import check_contract, own_patients
from taskct_core.volumes.volume import Volume, VolumeReference

if TYPE_CHECKING:  # NiBabel takes its time to import
    from taskct_core.volumes.grid_override import GridOverrides, Spacing

SOURCE_KINDS = ("phantom", "lits", "nifti", "dicom")


def list_patients(
    kind: str,
    path: str | Path | None = None,
    *,
    orientation: str | Mapping[str, str] | None = None,
    spacing_mm: Spacing | Mapping[str, Spacing] | None = None,
    images: str = "imagesTr/*.nii.gz",
    labels: str | Mapping[str, str] | None = None,
    classes: Mapping[int, str] | None = None,
    unlabelled: bool = False,
    parameters: Mapping[str, Any] | None = None,
    patients: int = 12,
    slices_per_patient: int = 12,
    pixels: int = 256,
    seed: int = 0,
    lesions: int | None = None,
    lesion_diameter_mm: tuple[float, float] | None = None,
) -> list[VolumeReference]:
    """List a source's patients without reading a voxel. The keywords are those of the ``source`` config.

    Args:
        kind: "phantom", "lits", "nifti", "dicom", or "package.module:Name" of one's own.
        path: folder of the volumes; not for the phantom.
        orientation: for files whose header is known to tell the wrong directions (or none): the
            direction in which each stored voxel axis grows, e.g. "LPS"; for all patients, or for each
            pattern of names as ``GridOverrides`` reads them. None trusts the headers.
        spacing_mm: likewise ``(slice, row, column)`` for files whose header has the wrong spacing.
        images: nifti only: pattern of the images' files below ``path``.
        labels: nifti only: where an image's labels are; see ``nifti_patients``.
        classes: numbers in label files -> "liver" or "tumour"; None: 1 and 2, and no others.
        unlabelled: take patients without labels, too.
        parameters: of a source of one's own.
        patients: phantom only, as are ``slices_per_patient``, ``pixels`` (height and width), ``seed``, ``lesions`` and
            ``lesion_diameter_mm``; see ``phantom_patients``.

    Raises:
        ConfigError: if the kind is unknown, the path is missing or a pattern fits nothing.
        DataError: if the folder, a volume-label pair or a header breaks its layout's rules.
    """
    # Imported here: NiBabel and pydicom load only where they are used.
    if kind == "phantom":
        from taskct_core.phantom.patients import phantom_patients

        return list(phantom_patients(patients, seed, slices_per_patient, pixels, lesions, lesion_diameter_mm))
    if ":" in kind:
        return own_patients(kind, path, parameters or {})
    if kind not in SOURCE_KINDS:
        raise ConfigError(
            f"the kind of source must be one of {', '.join(SOURCE_KINDS)}, or your own as package.module:Name",
            repr(kind),
            "Correct source.kind.",
        )
    from taskct_core.volumes.grid_override import GridOverrides

    overrides = GridOverrides(orientation, spacing_mm)
    return list(_listed(kind, _existing_folder(kind, path), overrides, classes, unlabelled, images, labels))


def _listed(
    kind: str,
    folder: Path,
    overrides: GridOverrides,
    classes: Mapping[int, str] | None,
    unlabelled: bool,
    images: str,
    labels: str | Mapping[str, str] | None,
) -> Iterable[VolumeReference]:
    """The patients of a folder of one of the layouts that are read."""
    if kind == "lits":
        from taskct_core.volumes.lits import lits_patients

        return lits_patients(folder, overrides, classes=classes, unlabelled=unlabelled)
    if kind == "nifti":
        from taskct_core.volumes.nifti_folder import nifti_patients

        return nifti_patients(folder, images, labels, overrides, classes=classes, unlabelled=unlabelled)
    from taskct_core.volumes.dicom import dicom_patients

    return dicom_patients(folder, overrides, classes)


def read_volume(reference: VolumeReference) -> Volume:
    """Read or make a patient's volume, and look at it; warn of what is doubtful.

    Raises:
        DataError: naming the file that breaks the contract of ``Volume``, or what in the volume is implausible.
    """
    from taskct_core.volumes.plausibility import look

    volume = reference.read()
    check_contract(volume)
    for finding in () if reference.looks_itself else look(volume):
        _raise_or_warn(finding, volume.patient)
    return volume


def _raise_or_warn(finding: Finding, patient: str) -> None:
    if finding.severity == "refused":
        raise finding.error(patient)
    if finding.severity == "warning":
        warnings.warn(finding.text(patient), stacklevel=3)


def _existing_folder(kind: str, path: str | Path | None) -> Path:
    if path is None:
        raise ConfigError(f"{kind} volumes need a folder", "path = None", "Set source.path.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        problem = "a file" if folder.exists() else "which does not exist"
        raise DataError(
            "source.path must be an existing folder", f"{folder}, {problem}", "Correct source.path."
        )
    return folder
