"""Whether voxel values are Hounsfield units, judged by the body and not by the lowest value.

Padding outside a round field of view says nothing about the scale inside it, so the checks look at what was
measured: air, fat and soft tissue where they should be, no clipping, and the HU under the liver's label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taskct_core.volumes.anatomy import Anatomy
from taskct_core.volumes.finding import Finding

LIVER_HU = (0, 250)  # fatty without contrast to bright in the portal phase
_NO_LIVER_HU = (-200, 600)  # beyond these no contrast phase, fat or tube voltage explains a liver's values
TUMOUR_HU = (-150, 300)
SOFT_HU = (-300, 500)  # fat, organs, vessels with contrast; bone but for its cortex
_AIR_RANGE_HU = (-1023, -850)
_FAT_HU = (-130, -50)
_DENSE_HU = 500  # over it lies bone, metal or concentrated contrast
_LEAST_TISSUE = 0.02  # of all voxels
_LEAST_SOFT = 0.5  # of the tissue
_MOST_DENSE = 0.3  # of the tissue
_MOST_DENSE_WITHOUT_AIR = 0.12
_MOST_BETWEEN = 0.35  # of the measured voxels, darker than fat and brighter than air
_LEAST_RANGE_HU = 20
_CLIPPED_SHARE = 0.03  # of the measured voxels at exactly the lowest value
_CLIPPED_BONE_HU, _CLIPPED_BONE_SHARE = 600, 0.0005

_NO_HU = (
    "Check the file's slope and intercept, or use the original file: HU are what the scan was rescaled from."
)


def check_hu_scale(anatomy: Anatomy) -> Iterator[Finding]:
    """Find values that are no HU: shifted, clipped, normalised or on another scale."""
    problem = _not_hu(anatomy)
    if problem is not None:
        yield replace(problem, found=problem.found + _under_liver(anatomy))
        return
    yield from _check_labelled_hu(anatomy)
    yield from _check_clipped_bone(anatomy)


@dataclass(frozen=True)
class Tissue:
    """Where one kind of tissue lies in a histogram.

    Attributes:
        name: air, fat, soft tissue or bone.
        expected_hu: where its commonest value is expected; of bone, where its brightest hundredth is.
        found_hu: where it is; None where there is none of it.
        share: of the voxels measured.
    """

    name: str
    expected_hu: tuple[float, float]
    found_hu: float | None
    share: float

    @property
    def is_expected(self) -> bool:
        """Whether it is there, and where it belongs."""
        low, high = self.expected_hu
        return self.found_hu is not None and low <= self.found_hu <= high


def describe_hu(anatomy: Anatomy) -> tuple[Tissue, ...]:
    """Air, fat, soft tissue and bone of the voxels measured."""
    values = anatomy.hu[anatomy.measured]
    tissues = []
    for name, (low, high), expected in (
        ("air", (-1200, -850), (-1024, -900)),
        ("fat", (-200, -30), (-130, -60)),
        ("soft tissue", (-30, 200), (10, 130)),
        ("bone", (200, 4000), (400, 4000)),
    ):
        part = values[(values >= low) & (values < high)]
        found = (
            None if part.size < 0.002 * values.size else _brightest(part) if name == "bone" else _mode(part)
        )
        tissues.append(Tissue(name, expected, found, part.size / max(values.size, 1)))
    return tuple(tissues)


def _mode(values: NDArray[np.float32]) -> float:
    counts, edges = np.histogram(values, np.arange(np.floor(values.min()) - 5, values.max() + 15, 10))
    fullest = int(np.argmax(counts))
    return float(np.median(values[(values >= edges[fullest]) & (values < edges[fullest + 1])]))


def _brightest(values: NDArray[np.float32]) -> float:
    return float(np.percentile(values, 99))


def _not_hu(anatomy: Anatomy) -> Finding | None:
    tissue = anatomy.tissue
    if tissue.size < _LEAST_TISSUE * anatomy.hu.size:
        return _refused(
            f"at least {_LEAST_TISSUE:.0%} of a CT's voxels lie above -500 HU",
            f"{tissue.size / anatomy.hu.size:.1%} of the voxels lie above -500 HU",
        )
    measured = anatomy.hu[anatomy.measured]
    has_air = np.mean((measured > _AIR_RANGE_HU[0]) & (measured < _AIR_RANGE_HU[1])) > 0.001
    low, middle, high = (float(value) for value in np.percentile(tissue, (1, 50, 99)))
    spread = f"1 % of its tissue lies below {low:.4g}, half below {middle:.4g}, 99 % below {high:.4g}"
    if high - low < _LEAST_RANGE_HU:
        return _refused("a CT in HU holds fat near -100, organs near 50 and bone above 300", spread)
    dense, limit = np.mean(tissue > _DENSE_HU), _MOST_DENSE if has_air else _MOST_DENSE_WITHOUT_AIR
    if dense > limit:
        return _refused(
            f"at most {limit:.0%} of a body lies above {_DENSE_HU} HU, as bone does",
            f"{dense:.0%} of the body lies above {_DENSE_HU} HU; {spread}",
            _likely_offset(float(np.median(tissue[tissue > _DENSE_HU]))),
        )
    soft = np.mean((tissue > SOFT_HU[0]) & (tissue < SOFT_HU[1]))
    if soft < _LEAST_SOFT:
        return _refused(
            f"at least {_LEAST_SOFT:.0%} of a body lies between {SOFT_HU[0]} and {SOFT_HU[1]} HU",
            f"{soft:.0%} of the body lies between {SOFT_HU[0]} and {SOFT_HU[1]} HU; {spread}",
        )
    return None if has_air else _clipped_window(anatomy)


def _clipped_window(anatomy: Anatomy) -> Finding | None:
    """Padding is the only air: the values may have been clipped to a window inside the field of view."""
    measured = anatomy.hu[anatomy.measured]
    low, high = float(measured.min()), float(measured.max())
    share = float(np.mean(measured == low))
    is_fat = _FAT_HU[0] <= low <= _FAT_HU[1] and high > _CLIPPED_BONE_HU
    if share >= _CLIPPED_SHARE and not is_fat:
        return _refused(
            "a CT holds air near -1000 HU inside its field of view, not only as padding",
            f"the lowest value beside padding is {low:g}, of {share:.0%} of the voxels measured; the highest {high:g}",
            "The values look clipped to a window or shifted: use the original file.",
        )
    between = float(np.mean((measured > _AIR_RANGE_HU[1]) & (measured < SOFT_HU[0])))
    if between > _MOST_BETWEEN:
        return _refused(
            f"without air, at most {_MOST_BETWEEN:.0%} of a scan lies between {_AIR_RANGE_HU[1]} and {SOFT_HU[0]} HU, as lungs do",
            f"{between:.0%} of what was measured does, and air near -1000 HU is missing",
        )
    return None


def _check_labelled_hu(anatomy: Anatomy) -> Iterator[Finding]:
    liver, tumour = anatomy.hu[anatomy.liver], anatomy.hu[anatomy.tumour]
    if liver.size:
        median = float(np.median(liver))
        if not LIVER_HU[0] <= median <= LIVER_HU[1]:
            yield Finding(
                "warning" if _NO_LIVER_HU[0] <= median <= _NO_LIVER_HU[1] else "refused",
                f"the median under the liver's label lies between {LIVER_HU[0]} and {LIVER_HU[1]} HU",
                f"the median under the liver's label is {median:.4g} HU",
                "Check the rescaling, and that the label belongs to this CT.",
            )
    if tumour.size:
        median = float(np.median(tumour))
        if not TUMOUR_HU[0] <= median <= TUMOUR_HU[1]:
            yield Finding(
                "warning",
                f"the median under the tumours' label lies between {TUMOUR_HU[0]} and {TUMOUR_HU[1]} HU",
                f"the median under the tumours' label is {median:.4g} HU",
                "Check that the label belongs to this CT.",
            )


def _check_clipped_bone(anatomy: Anatomy) -> Iterator[Finding]:
    high = float(anatomy.hu.max())
    share = float(np.mean(anatomy.tissue == high))
    if high < _CLIPPED_BONE_HU and share > _CLIPPED_BONE_SHARE:
        yield Finding(
            "warning",
            f"bone reaches above {_CLIPPED_BONE_HU} HU",
            f"{share:.2%} of the tissue has exactly the highest value, {high:g} HU",
            "The values look clipped to a window, and bone absorbs too little then: use the original file.",
        )


def _under_liver(anatomy: Anatomy) -> str:
    liver = anatomy.hu[anatomy.liver]
    if not liver.size:
        return ""
    return f"; the median under the liver's label is {np.median(liver):.4g} HU ({LIVER_HU[0]} to {LIVER_HU[1]} expected)"


def _likely_offset(median: float) -> str:
    if 900 <= median <= 1300:
        return "This looks like HU + 1024: apply the rescale intercept, usually -1024."
    if 8000 <= median <= 8500:
        return "This looks like HU + 8192: apply the rescale intercept, -8192."
    return _NO_HU


def _refused(rule: str, found: str, next_step: str = _NO_HU) -> Finding:
    return Finding("refused", rule, found, next_step)
