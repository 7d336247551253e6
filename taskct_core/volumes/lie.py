"""How a patient lies: liver on the right, spine behind, lungs above. Headers that say otherwise are found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from taskct_core.volumes.anatomy import BONE_HU, Anatomy
from taskct_core.volumes.finding import Finding

_OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))
_LEAST_BONE = 0.001  # of the body's voxels, to tell where the spine is
_LEAST_LUNG = 0.02  # of the body's voxels, to tell where the lungs are
_MARGIN = 0.05  # of the body's extent, that a centre must be off
Reason = (
    str | None
)  # why an axis runs the wrong way; "" where it runs the right one, None where none can tell


def check_lie(anatomy: Anatomy, patient: str, stored_axes: str | None) -> Iterator[Finding]:
    """Find axes that run the wrong way.

    Args:
        patient: the name that the hint gives the right orientation to.
        stored_axes: the directions in which the file's axes are taken to grow, for the hint.
    """
    reasons = {"RL": _liver_on_left(anatomy), "AP": _spine_in_front(anatomy), "SI": _lungs_below(anatomy)}
    wrong = {letters: reason for letters, reason in reasons.items() if reason}
    if not wrong:
        return
    turned = "".join(wrong)
    # A header that takes LPS for RAS or the reverse turns both axes; it mirrors none.
    if "RL" in wrong and reasons["AP"] is None:
        turned += "AP"
    yield Finding(
        "warning",
        "the liver lies on the patient's right, the spine behind, the lungs above",
        "; ".join(wrong.values()),
        _hint(patient, stored_axes, turned),
    )


def _liver_on_left(anatomy: Anatomy) -> Reason:
    liver = np.count_nonzero(anatomy.labels, axis=(0, 1))
    body = np.count_nonzero(anatomy.hu > -500, axis=(0, 1))
    if not liver.any() or not body.any():
        return None
    if _centre(liver) <= _centre(body):
        return ""
    millimetres = (_centre(liver) - _centre(body)) * anatomy.spacing_mm[2]
    return f"the liver lies on the patient's left, {millimetres:.0f} mm from the middle of the body"


def _spine_in_front(anatomy: Anatomy) -> Reason:
    """Bone in the middle third of the body: the spine, with little of the ribs."""
    columns = np.flatnonzero(anatomy.body.any(axis=(0, 1)))
    rows = np.count_nonzero(anatomy.body, axis=(0, 2))
    if columns.size < 3 or not anatomy.is_recognisable:
        return None
    first, width = int(columns[0]), int(columns[-1]) - int(columns[0]) + 1
    middle = (slice(None), slice(None), slice(first + width // 3, first + width - width // 3))
    bone = np.count_nonzero(anatomy.body[middle] & (anatomy.hu[middle] > BONE_HU), axis=(0, 2))
    if bone.sum() < _LEAST_BONE * rows.sum():
        return None
    offset = _centre(rows) - _centre(bone)
    if offset < _MARGIN * np.count_nonzero(rows):
        return ""
    return f"the spine lies {offset * anatomy.spacing_mm[1]:.0f} mm in front of the middle of the body"


def _lungs_below(anatomy: Anatomy) -> Reason:
    """Lungs against the liver where it is labelled, else the lowest third of the slices against the highest."""
    lungs = np.count_nonzero(anatomy.lungs, axis=(1, 2))
    body = np.count_nonzero(anatomy.body, axis=(1, 2))
    liver = np.count_nonzero(anatomy.labels, axis=(1, 2))
    count = len(lungs)
    if count < 3 or not anatomy.is_recognisable or lungs.sum() < _LEAST_LUNG * body.sum():
        return None
    if liver.any():
        below = (_centre(liver) - _centre(lungs)) * anatomy.spacing_mm[0]
        is_below = below > _MARGIN * count * anatomy.spacing_mm[0]
        return f"the lungs lie {below:.0f} mm below the liver" if is_below else ""
    third = count // 3
    low, high = (
        float(lungs[part].sum() / max(body[part].sum(), 1)) for part in (slice(third), slice(-third, None))
    )
    if low < 0.05 or high > low / 3:
        return ""
    return f"lungs fill {low:.0%} of the body in the lowest third of the slices, {high:.0%} in the highest"


def _centre(counts: np.ndarray) -> float:
    return float(np.average(np.arange(len(counts)), weights=counts))


def _hint(patient: str, stored_axes: str | None, wrong: str) -> str:
    if stored_axes is None:
        return "Look at a slice."
    turned = "".join(_OPPOSITE[letter] if letter in wrong else letter for letter in stored_axes)
    return (
        "Look at it with `taskct inspect`; if this patient's header is wrong, name the true directions for "
        f"this patient alone: source.orientation: {{{patient}: {turned}}}."
    )
