"""Distances between the boundaries of two masks, of a slice or a volume, in mm.

A boundary is the mask's voxels that have a neighbour outside it, across a face; the edge of the array counts as
outside. Distances run between centres of voxels. These are MONAI's definitions (``compute_surface_dice``,
``compute_hausdorff_distance``), with which tests compare; its own code takes ten times as long for a slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SurfaceDistances:
    """From each boundary voxel to the nearest of the other boundary, in mm; infinite where there is no other.

    Attributes:
        of_true: from those of the truth.
        of_predicted: from those of the prediction.
    """

    of_true: NDArray[np.float64]
    of_predicted: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Of both boundaries' voxels."""
        return len(self.of_true) + len(self.of_predicted)

    def count_within(self, tolerance_mm: float) -> int:
        """How many of them lie within a tolerance of the other boundary."""
        return int((self.of_true <= tolerance_mm).sum() + (self.of_predicted <= tolerance_mm).sum())

    def dice(self, tolerance_mm: float) -> float:
        """Normalised surface Dice (Nikolov et al. 2021, J. Med. Internet Res. 23:e26151), by counting voxels.

        NaN where both masks are empty, 0 where one is.
        """
        return self.count_within(tolerance_mm) / self.count if self.count else math.nan

    def hausdorff(self, percent: float = 95.0, *, absent: float = math.inf) -> float:
        """The percentile of the distances, the larger of both directions, in mm.

        Args:
            percent: 100 is the Hausdorff distance.
            absent: what stands for it where one of the masks is empty; NaN where both are.
        """
        if not self.count:
            return math.nan
        directions = (self.of_true, self.of_predicted)
        if not all(len(distances) for distances in directions):
            return absent
        return max(float(np.percentile(distances, percent)) for distances in directions)


def surface_distances(true: Mask, predicted: Mask, spacing_mm: float | Sequence[float]) -> SurfaceDistances:
    """Compare two masks of the same shape.

    Args:
        true, predicted: ``(row, column)`` or ``(slice, row, column)``.
        spacing_mm: distance of neighbouring voxels, along all axes or along each.
    """
    outlines = [_boundary(mask) * np.asarray(spacing_mm, dtype=float) for mask in (true, predicted)]
    return SurfaceDistances(_nearest(outlines[0], outlines[1]), _nearest(outlines[1], outlines[0]))


def _boundary(mask: Mask) -> NDArray[np.int64]:
    """Indices ``(voxel, axis)`` of the boundary."""
    found = [np.flatnonzero(mask.any(axis=_other_axes(axis, mask.ndim))) for axis in range(mask.ndim)]
    if not len(found[0]):
        return np.empty((0, mask.ndim), dtype=np.int64)
    box = tuple(slice(along[0], along[-1] + 1) for along in found)
    inside = mask[box]
    return np.argwhere(inside & ~binary_erosion(inside)) + [along[0] for along in found]


def _other_axes(axis: int, dimensions: int) -> tuple[int, ...]:
    return tuple(other for other in range(dimensions) if other != axis)


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    distances: NDArray[np.float64] = KDTree(others).query(points)[0]
    return distances
