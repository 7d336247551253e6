"""One look at a volume: everything that simulation and inspection check of a patient, in one place."""

from __future__ import annotations

from taskct_core.volumes.anatomy import Anatomy
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.hu_scale import check_hu_scale
from taskct_core.volumes.lie import check_lie
from taskct_core.volumes.masks import check_masks
from taskct_core.volumes.volume import Volume


def look(volume: Volume) -> list[Finding]:
    """What the reader noticed and what the voxels and labels tell, the gravest first."""
    anatomy = Anatomy.of(volume)
    findings = [*volume.findings]
    if anatomy.is_recognisable:
        findings += [*check_hu_scale(anatomy), *check_masks(anatomy)]
    findings += check_lie(anatomy, volume.patient, volume.stored_axes)
    return by_gravity(findings)


def by_gravity(findings: list[Finding]) -> list[Finding]:
    """The findings with what is refused first, then warnings, then notes."""
    order = ("refused", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.severity))
