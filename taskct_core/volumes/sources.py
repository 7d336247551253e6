"""Which patients a source holds, and how one is read: the entry for everything downstream."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from taskct_core.errors import ConfigError, DataError
from taskct_core.volumes.volume import Volume, VolumeReference

KINDS = ("phantom", "lits", "dicom")


def list_patients(
    kind: str,
    path: str | Path | None = None,
    *,
    orientation: str | None = None,
    patients: int = 12,
    slices_per_patient: int = 12,
    pixels: int = 256,
    seed: int = 0,
) -> list[VolumeReference]:
    """List a source's patients without reading a voxel. The keywords are those of the ``source`` config.

    Args:
        kind: "phantom", "lits" or "dicom".
        path: folder of the volumes; not for the phantom.
        orientation: for files whose header is known to tell the wrong directions (or none): the
            direction in which each stored voxel axis grows, e.g. "LPS". None trusts the headers.
        patients: phantom only, as are ``slices_per_patient``, ``pixels`` (height and width) and ``seed``.

    Raises:
        ConfigError: if the kind is unknown or the path is missing.
        DataError: if the folder, a volume-label pair or a header breaks its layout's rules.
    """
    # Imported here: NiBabel and pydicom load only where they are used.
    if kind == "phantom":
        from taskct_core.phantom.patients import phantom_patients

        return list(phantom_patients(patients, seed, slices_per_patient, pixels))
    if kind not in KINDS:
        raise ConfigError(
            f"the kind of source must be one of {', '.join(KINDS)}", repr(kind), "Correct source.kind."
        )
    folder = _existing_folder(kind, path)
    if kind == "lits":
        from taskct_core.volumes.lits import lits_patients

        return list(lits_patients(folder, orientation))
    from taskct_core.volumes.dicom import dicom_patients

    return list(dicom_patients(folder, orientation))


def read_volume(reference: VolumeReference) -> Volume:
    """Read or make a patient's volume; warn where the liver is not on the patient's right.

    Raises:
        DataError: naming the file that breaks the contract of ``Volume``.
    """
    volume = reference.read()
    if _liver_on_left(volume):
        warnings.warn(
            f"{volume.patient}: the liver lies on the patient's left, so the files' orientation is probably "
            "wrong; if it is, name the true one, e.g. source.orientation: LPS",
            stacklevel=2,
        )
    return volume


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


def _liver_on_left(volume: Volume) -> bool:
    liver = np.count_nonzero(volume.labels, axis=(0, 1))
    body = np.count_nonzero(volume.hu > -500, axis=(0, 1))
    if not liver.any() or not body.any():
        return False
    columns = np.arange(len(liver))
    return bool(np.average(columns, weights=liver) > np.average(columns, weights=body))
