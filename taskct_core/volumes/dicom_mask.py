"""Mask series: which value is the background when a mask was written as if it were a CT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.volumes.dicom_pixels import rescaling
from taskct_core.volumes.dicom_series import Slice, stack


def mask_of(slices: list[Slice], name: str) -> NDArray[np.bool_]:
    """Where a mask series is not background, ``(column, row, slice)``.

    Background is 0 after rescaling. Masks that copied a CT's rescaling without storing values for it have
    stored zeros instead.

    Raises:
        DataError: if neither is there: no value can be told to be the background.
    """
    stored = stack([slice_.stored for slice_ in slices])
    planes = [
        slice_.stored * np.float64(slope) + intercept
        for slice_ in slices
        for slope, intercept in [rescaling(slice_.file, slice_.header)]
    ]
    rescaled = stack(planes)
    for values in (rescaled, stored):
        background = np.abs(values) < 1e-6
        if background.any():
            return ~background
    found = np.unique(stored)
    raise DataError(
        "a mask must have a background of 0",
        f"{name}: values {', '.join(f'{v:g}' for v in found[:5])}{', ...' if found.size > 5 else ''}, "
        f"{rescaled.flat[0]:g} after rescaling and so on: every pixel would be liver or tumour",
        "Write the mask with 0 for background.",
    )
