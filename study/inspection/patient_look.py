"""What a look at one patient finds: sizes, HU in words, liver and tumours in figures, warnings, a picture."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from study.inspection.picture import picture_of
from taskct_core.errors import TaskctError
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes import Finding, Volume, VolumeReference
from taskct_core.volumes.anatomy import Anatomy
from taskct_core.volumes.hu_scale import Tissue, describe_hu
from taskct_core.volumes.masks import volume_ml
from taskct_core.volumes.own_source import check_contract
from taskct_core.volumes.plausibility import by_gravity, look


@dataclass(frozen=True)
class Structure:
    """The liver without its tumours, or the tumours.

    Attributes:
        millilitres: volume of the label.
        slices: in how many slices it is.
        hu: 5th, 50th and 95th percentile beneath it.
    """

    millilitres: float
    slices: int
    hu: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PatientLook:
    """One patient, looked at. What follows from the voxels is missing where they could not be read.

    Attributes:
        patient: the name.
        findings: what is wrong or doubtful, the gravest first.
        shape, spacing_mm: slice, row, column.
        stored_axes: where the file's own axes grow to.
        labelled: whether there are labels.
        tissues: where air, fat, soft tissue and bone lie, and how much there is of each.
        liver, tumour: None where there is none.
        picture: JPEG, base64.
        person, fingerprint: by which the same patient is found again.
    """

    patient: str
    findings: tuple[Finding, ...]
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    stored_axes: str | None = None
    labelled: bool = False
    tissues: tuple[Tissue, ...] = ()
    liver: Structure | None = None
    tumour: Structure | None = None
    picture: str = ""
    person: str | None = None
    fingerprint: str = ""

    @property
    def verdict(self) -> str:
        """``refused``, ``warning`` or ``good``: the gravest of the findings, notes left out."""
        severities = {finding.severity for finding in self.findings}
        return next((level for level in ("refused", "warning") if level in severities), "good")

    def with_finding(self, finding: Finding) -> PatientLook:
        """The look with a finding that only a look at several patients gives."""
        return replace(self, findings=tuple(by_gravity([finding, *self.findings])))


def look_at(reference: VolumeReference) -> PatientLook:
    """Read a patient and look; what cannot be read is a finding, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that read; what matters is among the findings
            volume = reference.read()
        check_contract(volume)
    except TaskctError as error:
        finding = Finding("refused", error.rule, error.received, error.next_step)
        return PatientLook(patient=reference.patient, findings=(finding,), person=reference.person)
    except OSError as error:
        finding = Finding("refused", "a file must be readable", str(error), "Check its rights and its disk.")
        return PatientLook(patient=reference.patient, findings=(finding,), person=reference.person)
    return PatientLook(
        patient=volume.patient,
        findings=tuple(look(volume)),
        shape=volume.hu.shape,
        spacing_mm=volume.spacing_mm,
        stored_axes=volume.stored_axes,
        labelled=volume.labelled,
        tissues=describe_hu(Anatomy.of(volume)),
        liver=_structure(volume, volume.labels == LIVER),
        tumour=_structure(volume, volume.labels == TUMOUR),
        picture=picture_of(volume),
        person=reference.person,
        fingerprint=volume.fingerprint,
    )


def _structure(volume: Volume, mask: NDArray[np.bool_]) -> Structure | None:
    values = volume.hu[mask]
    if not values.size:
        return None
    low, middle, high = (float(value) for value in np.percentile(values, (5, 50, 95)))
    slices = int(np.count_nonzero(mask.any(axis=(1, 2))))
    return Structure(volume_ml(mask, volume.spacing_mm), slices, (low, middle, high))
