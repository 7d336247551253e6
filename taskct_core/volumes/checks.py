"""What voxel values must be before they become a ``Volume``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.hounsfield import LOWEST_STORED_HU
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.finding import Finding

# The extended CT scale, -10240 to 30710 HU (C. Coolens and P. J. Childs, Phys. Med. Biol. 48, 2003),
# admits metal; what a scanner pads its round field of view with lies below air.
LOWEST_HU, HIGHEST_HU = -10240, 30710
NO_AIR_HU = -500  # between fat (-100) and air (-1000): a scan without air was rescaled or windowed
DARK_HU = -1200  # noise and streaks in air seldom go below it; padding, of one value, does
_MOST_DARK = 0.02  # of the voxels, padding left out
WHOLE_TOLERANCE = 1e-4  # labels scaled in a file's header come out so close to whole numbers


def checked_hu(
    voxels: NDArray[np.generic], name: str, *, is_low_dose: bool = False
) -> tuple[NDArray[np.int16 | np.float32], tuple[Finding, ...]]:
    """Return the voxels as int16 or float32 HU, padding raised or lowered to -1024, and what was done to them.

    One value outside the extended CT scale is padding, a value above it only where it fills a corner.

    Args:
        voxels: as the file has them.
        name: for messages.
        is_low_dose: noise and streaks may lie far below air.

    Raises:
        DataError: if they are no numbers, not finite, out of range, or evidently no HU.
    """
    _check_numbers(voxels, name)
    low, high = (float(v) for v in (voxels.min(), voxels.max()))
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(voxels)))
        raise DataError(
            "voxels must be finite", f"{name}: {bad} NaN or infinite voxels", "Replace them, e.g. by -1024."
        )
    findings: tuple[Finding, ...] = ()
    if low < LOWEST_HU or high > HIGHEST_HU:
        voxels, findings = _without_padding(voxels, name)
        low, high = (float(v) for v in (voxels.min(), voxels.max()))
    if low > NO_AIR_HU:
        raise DataError(
            f"a CT in HU holds air: its lowest value is below {NO_AIR_HU}",
            f"{name}: {low:g} to {high:g}",
            _likely_scale(low, high),
        )
    if not is_low_dose:
        _check_dark(voxels, name)
    if voxels.dtype.kind == "f":
        return np.maximum(voxels, LOWEST_STORED_HU, dtype=np.float32), findings
    return np.maximum(voxels.astype(np.int16), LOWEST_STORED_HU), findings


def checked_labels(
    voxels: NDArray[np.generic], name: str, classes: Mapping[int, int] | None = None
) -> NDArray[np.uint8]:
    """Return the labels as uint8: 0 background, 1 liver, 2 tumour.

    Args:
        classes: a file's numbers -> labels; other numbers are background. None: 1 and 2 are the labels, and
            other numbers are refused.

    Raises:
        DataError: listing the values that are no label.
    """
    _check_numbers(voxels, name)
    if voxels.dtype.kind == "f":
        whole = np.rint(voxels)
        _refuse(voxels[~(np.abs(voxels - whole) <= WHOLE_TOLERANCE)], name, "labels must be whole numbers")
        voxels = whole
    if classes is None:
        classes = {LIVER: LIVER, TUMOUR: TUMOUR}
        rule = "labels must be 0 (background), 1 (liver) or 2 (tumour)"
        _refuse(voxels[~np.isin(voxels, (0, LIVER, TUMOUR))], name, rule)
    labels = np.zeros(voxels.shape, np.uint8)
    for number, label in classes.items():
        labels[voxels == number] = label
    return labels


def _refuse(wrong: NDArray[np.generic], name: str, rule: str) -> None:
    if not wrong.size:
        return
    values = np.unique(wrong)
    listed = ", ".join(f"{v:.10g}" for v in values[:10]) + (", ..." if len(values) > 10 else "")
    raise DataError(
        rule, f"{name}: also {listed}", "Map the numbers to liver and tumour with source.classes."
    )


def _check_numbers(voxels: NDArray[np.generic], name: str) -> None:
    if voxels.dtype.kind not in "iufb" or not voxels.size:
        raise DataError(
            "voxels must be real numbers", f"{name}: {voxels.dtype}", "Export one grey value a voxel."
        )


def _without_padding(
    voxels: NDArray[np.generic], name: str
) -> tuple[NDArray[np.generic], tuple[Finding, ...]]:
    """Air where one value outside the scale stands for what was not measured."""
    numbers = voxels.astype(np.float64 if voxels.dtype.kind == "f" else np.int64)
    outside = (numbers < LOWEST_HU) | (numbers > HIGHEST_HU)
    values = np.unique(numbers[outside])
    corners = numbers[np.ix_(*((0, -1) for _ in numbers.shape))]
    if len(values) > 1 or (values[0] > HIGHEST_HU and values[0] not in corners):
        many = (
            f"{len(values)} different values outside"
            if len(values) > 1
            else f"{values[0]:g} inside the image"
        )
        raise DataError(
            f"HU must lie in [{LOWEST_HU}, {HIGHEST_HU}]; outside it one value may stand for padding",
            f"{name}: {numbers.min():g} to {numbers.max():g}, {many}",
            "Check the file's slope and intercept; replace padding by -1024.",
        )
    numbers[outside] = LOWEST_STORED_HU
    found = f"{outside.mean():.1%} of the voxels are {values[0]:g}, which no CT value is"
    return numbers, (Finding("note", "padding lies at -1024 HU", found, "They were read as air."),)


def _check_dark(voxels: NDArray[Any], name: str) -> None:
    dark = voxels[voxels < DARK_HU]
    if dark.size <= _MOST_DARK * voxels.size:
        return
    values, counts = np.unique(dark, return_counts=True)
    rest = (dark.size - counts.max()) / voxels.size
    if rest > _MOST_DARK:
        raise DataError(
            f"at most {_MOST_DARK:.0%} of a CT lie below {DARK_HU} HU, besides padding of one value",
            f"{name}: {rest:.0%}, down to {values[0]:g}",
            "Air is -1000 HU: check that slope and intercept were applied once.",
        )


def _likely_scale(low: float, high: float) -> str:
    if low >= -1 and high <= 1:
        return "This looks normalised to [0, 1]: undo it, or use the original file."
    if low >= 0 and high <= 255:
        return "This looks like 8-bit grey levels: use the original file, HU below the window are lost."
    if low >= 0 and high <= 4095:
        return "This looks like scanner values: apply the rescale intercept, usually -1024."
    if 6000 <= low <= 8192:
        return "This looks like HU + 8192: apply the rescale intercept, -8192."
    return "If it was clipped to a window, use the original file; else check that it is a CT and in HU."
