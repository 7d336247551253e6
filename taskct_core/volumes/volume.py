"""A patient's CT, and the reference from which a worker reads it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taskct_core.volumes.finding import Finding


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A patient's CT in HU with its labels.

    Attributes:
        patient: identifies the patient; splits are made on it.
        hu: int16 or float32 ``(slice, row, column)``, Hounsfield units, -1024 where the scanner
            measured nothing. Slices run from inferior to superior, rows from anterior to posterior,
            columns from the patient's right to left: a slice shown with row 0 on top is in the
            radiological convention (liver on the image's left, spine at the bottom).
        labels: uint8 of the same shape: 0 background, 1 liver, 2 tumour.
        spacing_mm: ``(slice, row, column)`` distances of neighbouring voxel centres.
        labelled: False where the source has no masks; the labels are then all background.
        stored_axes: the directions, such as "LPS", in which the file's own axes are taken to grow; None
            where there was no file.
        findings: what the reader noticed in the files.
        source_fingerprint: of another volume's voxels, where this one was made from them.
    """

    patient: str
    hu: NDArray[np.int16 | np.float32]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    labelled: bool = True
    stored_axes: str | None = None
    findings: tuple[Finding, ...] = ()
    source_fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the voxels as whole HU: the same for copies in whatever files, and with synthetic lesions."""
        if self.source_fingerprint is not None:
            return self.source_fingerprint
        voxels = np.ascontiguousarray(np.rint(self.hu).astype("<i2"))
        return hashlib.sha256(repr(voxels.shape).encode() + voxels.tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class VolumeReference(ABC):
    """Where one patient's volume is; small and picklable. Each kind of source has its subclass.

    Attributes:
        patient: the name that the volume will have.
        num_slices: as the headers tell.
        labelled: False where the source has no masks; the volume's labels are then all background.
        person: whom the files' headers name, where they do: two references of one person are one patient.
    """

    patient: str
    num_slices: int
    labelled: bool = True
    person: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that ``read`` opens; none for the phantom."""
        return ()

    @property
    def label_files(self) -> tuple[Path, ...]:
        """Those of ``files`` that hold the labels."""
        return ()

    @property
    def looks_itself(self) -> bool:
        """Whether ``read`` looks at the source's volume, before it puts something into it."""
        return False

    @abstractmethod
    def read(self) -> Volume:
        """Read or make the volume.

        Raises:
            DataError: naming the file that breaks the contract of ``Volume``.
        """

    def read_coarse(self) -> Volume:
        """The volume with fewer pixels over the same slices where that is cheaper, else as ``read`` gives it."""
        return self.read()
