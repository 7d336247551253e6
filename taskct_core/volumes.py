"""A patient's CT: the one type that readers return and simulation takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A patient's CT in HU with its labels.

    Attributes:
        patient: identifies the patient; splits are made on it.
        hu: int16 or float32 ``(slice, height, width)``, Hounsfield units. Slices run inferior to
            superior, rows anterior to posterior, columns from the patient's right to left, so a slice
            displays in the radiological convention.
        labels: uint8 of the same shape: 0 background, 1 liver, 2 tumour.
        spacing_mm: ``(slice, row, column)`` distances.
    """

    patient: str
    hu: NDArray[np.generic]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
