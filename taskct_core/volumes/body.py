"""Where the patient's body lies in a volume's slices: what one field of view for all patients is chosen from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, label

from taskct_core.geometry.field_of_view import BODY_HU

COARSE_MM = 4.0  # edge of the areas whose means are looked at; thin shells of tables vanish in them
PART_SHARE = 0.05  # of the largest part's area, from which on a part counts as body: an arm, but no cable
MARGIN_MM = 5.0  # of air around the body: skin shares its coarse area with air
FIELD_STEP_MM = 10.0


@dataclass(frozen=True)
class BodyBox:
    """The smallest box that holds the body in all slices: distances in mm from the slice's centre.

    Attributes:
        rows: ``(first, last)`` edge along the rows, negative towards the first row.
        columns: the same along the columns.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]

    @property
    def centre_mm(self) -> tuple[float, float]:
        """``(row, column)``."""
        return sum(self.rows) / 2, sum(self.columns) / 2

    @property
    def size_mm(self) -> tuple[float, float]:
        """``(height, width)``."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


def body_box(hu: NDArray[np.generic], spacing_mm: tuple[float, float]) -> BodyBox | None:
    """Find the body in slices ``(slice, row, column)`` of a ``(row, column)`` spacing; None where there is none.

    The body is what is denser than ``BODY_HU`` in means over about 4 mm and thicker than a table's shell.
    """
    factors = [max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm]
    found = np.zeros([-(-size // factor) for size, factor in zip(hu.shape[1:], factors, strict=True)], bool)
    for image in hu:
        found |= _body(_area_means(image, factors))
    if not found.any():
        return None
    edges = [
        _span(np.any(found, axis=1 - axis), factors[axis], hu.shape[axis + 1], spacing_mm[axis])
        for axis in (0, 1)
    ]
    return BodyBox(*edges)


def smallest_field_mm(body_sizes_mm: Iterable[float]) -> float | None:
    """Edge of the smallest field of view that holds bodies of these sizes, rounded up; None for no body.

    Args:
        body_sizes_mm: larger edge of each body's box; 0 where a volume has no body.
    """
    largest = max(body_sizes_mm, default=0.0)
    return math.ceil((largest + 2 * MARGIN_MM) / FIELD_STEP_MM) * FIELD_STEP_MM if largest else None


def _area_means(image: NDArray[np.generic], factors: list[int]) -> NDArray[np.float32]:
    """Means over blocks of pixels; beyond the last row and column is air."""
    padding = [(0, -size % factor) for size, factor in zip(image.shape, factors, strict=True)]
    padded = np.pad(image.astype(np.float32), padding, constant_values=-1000.0)
    (rows, columns), (down, right) = padded.shape, factors
    blocks: NDArray[np.float32] = padded.reshape(rows // down, down, columns // right, right).mean(
        axis=(1, 3)
    )
    return blocks


def _body(means: NDArray[np.float32]) -> NDArray[np.bool_]:
    # Padded, since opening takes what lies beyond the edge for air.
    dense = np.pad(means > BODY_HU, 2, mode="edge")
    opened = binary_opening(dense, np.ones((3, 3)))[2:-2, 2:-2]
    parts, count = label(opened)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    areas[0] = 0
    return np.isin(parts, np.flatnonzero((areas > 0) & (areas >= PART_SHARE * areas.max())))


def _span(found: NDArray[np.bool_], factor: int, size: int, spacing_mm: float) -> tuple[float, float]:
    """First and last edge in mm from the centre."""
    blocks = np.flatnonzero(found)
    first, last = int(blocks[0]) * factor, min((int(blocks[-1]) + 1) * factor, size)
    return (first - size / 2) * spacing_mm, (last - size / 2) * spacing_mm
