"""What voxel values must be before they become a ``Volume``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import DataError

AIR_HU = -1024
# The extended CT scale, -10240 to 30710 HU (C. Coolens and P. J. Childs, Phys. Med. Biol. 48, 2003),
# admits metal; what a scanner pads its round field of view with lies below air.
LOWEST_HU, HIGHEST_HU = -10240, 30710
NO_AIR_HU = -500  # between fat (-100) and air (-1000): a scan without air was rescaled or windowed


def checked_hu(voxels: NDArray[np.generic], name: str) -> NDArray[np.int16 | np.float32]:
    """Return the voxels as int16 or float32 HU, padding below -1024 raised to -1024.

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
    if low < LOWEST_HU or high > HIGHEST_HU:
        raise DataError(
            f"HU must lie in [{LOWEST_HU}, {HIGHEST_HU}]",
            f"{name}: {low:g} to {high:g}",
            "Check the file's slope and intercept.",
        )
    if low > NO_AIR_HU:
        raise DataError(
            f"a CT in HU holds air: its lowest value is below {NO_AIR_HU}",
            f"{name}: {low:g} to {high:g}",
            _likely_scale(low, high),
        )
    if voxels.dtype.kind == "f":
        return np.maximum(voxels, AIR_HU, dtype=np.float32)
    return np.maximum(voxels.astype(np.int16), AIR_HU)


def _check_numbers(voxels: NDArray[np.generic], name: str) -> None:
    if voxels.dtype.kind not in "iufb":
        raise DataError(
            "voxels must be real numbers", f"{name}: {voxels.dtype}", "Export one grey value a voxel."
        )


def _likely_scale(low: float, high: float) -> str:
    if low >= -1 and high <= 1:
        return "This looks normalised to [0, 1]: undo it, or use the original file."
    if low >= 0 and high <= 255:
        return "This looks like 8-bit grey levels: use the original file, HU below the window are lost."
    if low >= 0 and high <= 4095:
        return "This looks like scanner values: apply the rescale intercept, usually -1024."
    return "If it was clipped to a window, use the original file; else check that it is a CT and in HU."


def checked_labels(voxels: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Return the labels as uint8.

    Raises:
        DataError: listing the values other than 0 background, 1 liver, 2 tumour.
    """
    _check_numbers(voxels, name)
    wrong = voxels[~((voxels == 0) | (voxels == 1) | (voxels == 2))]
    if wrong.size:
        values = np.unique(wrong)
        listed = ", ".join(f"{v:g}" for v in values[:10]) + (", ..." if len(values) > 10 else "")
        raise DataError(
            "labels must be 0 (background), 1 (liver) or 2 (tumour)",
            f"{name}: also {listed}",
            "Map the labels to these three values.",
        )
    return voxels.astype(np.uint8)
