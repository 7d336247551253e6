"""Where the phantom's voxels lie in millimetres, and the implicit shapes drawn on them.

A shape is an array of approximate signed distances in mm, negative inside, so shapes combine by
``minimum`` (union), ``maximum`` (intersection) and their smooth versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
TissueMap = NDArray[np.uint8]  # one value of Tissue a voxel
Point = tuple[float, float, float]  # (z, y, x) in mm: superior, posterior and patient's left are positive
Box = tuple[slice, slice, slice]

FIELD_EXTENT_MM = 300.0  # smooth fields are defined on [-extent, extent] along each axis
MAX_WARP_MM = 12.0


@dataclass(frozen=True)
class Grid:
    """Voxel positions: ``axes`` are exact, ``warped`` are bent smoothly to make shapes organic.

    Attributes:
        axes: the three 1-D arrays of positions (z, y, x) in mm.
        warped: the three arrays of the volume's shape with the bent positions.
        field_extent_mm: how far from the middle smooth fields are defined along each axis. The phantom's is the same at
            every resolution, and so are its fields; what stays on one grid is drawn faster on an extent of its own.
    """

    axes: tuple[Array, Array, Array]
    warped: tuple[Array, Array, Array]
    field_extent_mm: Point = (FIELD_EXTENT_MM, FIELD_EXTENT_MM, FIELD_EXTENT_MM)

    @classmethod
    def make(cls, axes: tuple[Array, Array, Array], rng: np.random.Generator) -> Grid:
        """Bend the axes by up to ``MAX_WARP_MM``, with a random field that changes over 60 mm."""
        mesh = np.meshgrid(*axes, indexing="ij", sparse=True)
        warped = [m + np.clip(5 * smooth_field(axes, 60, rng), -MAX_WARP_MM, MAX_WARP_MM) for m in mesh]
        return cls(axes, (warped[0], warped[1], warped[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.axes
        return len(z), len(y), len(x)

    def box(self, centre: Sequence[float], reach: Sequence[float]) -> Box:
        """Return the voxels within ``reach`` mm of ``centre`` along each axis, warping allowed for."""
        ranges = [
            np.searchsorted(axis, (c - r - MAX_WARP_MM, c + r + MAX_WARP_MM))
            for axis, c, r in zip(self.axes, centre, reach, strict=True)
        ]
        z, y, x = (slice(int(start), int(stop)) for start, stop in ranges)
        return z, y, x

    def part(self, box: Box) -> Grid:
        """Return the grid of the voxels in ``box``."""
        z, y, x = (axis[inside] for axis, inside in zip(self.axes, box, strict=True))
        warped = self.warped[0][box], self.warped[1][box], self.warped[2][box]
        return Grid((z, y, x), warped, self.field_extent_mm)

    def smooth_field(self, length_mm: float, rng: np.random.Generator) -> Array:
        """Random field on these voxels; see the function of this name."""
        return smooth_field(self.axes, length_mm, rng, self.field_extent_mm)

    def ellipsoid(self, centre: Point, radii: Point, box: Box | None = None) -> Array:
        """Signed distance (exact on the surface only) to an axis-parallel ellipsoid, in warped space."""
        inside = (slice(None),) * 3 if box is None else box
        squares = [
            ((w[inside] - c) * np.float32(1 / r)) ** 2
            for w, c, r in zip(self.warped, centre, radii, strict=True)
        ]
        norm = np.sqrt(squares[0] + squares[1] + squares[2])
        return (norm - 1) * np.float32(min(radii))

    def capsule(self, start: Point, end: Point, radii: tuple[float, float], box: Box) -> Array:
        """Signed distance to a rod from ``start`` to ``end`` whose radius changes linearly."""
        a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
        direction = b - a
        length_squared = max(float(direction @ direction), 1e-6)
        offsets = [w[box] - c for w, c in zip(self.warped, a, strict=True)]
        along = sum(o * d for o, d in zip(offsets, direction, strict=True)) / length_squared
        along = np.clip(along, 0, 1)
        squared = sum((o - along * d) ** 2 for o, d in zip(offsets, direction, strict=True))
        return np.sqrt(squared) - (radii[0] + along * np.float32(radii[1] - radii[0]))


def smooth_union(a: Array, b: Array, blend_mm: float) -> Array:
    """Union of two shapes whose seam is rounded over about ``blend_mm``."""
    gap = np.maximum(blend_mm - np.abs(a - b), 0)
    return np.minimum(a, b) - gap * gap * np.float32(0.25 / blend_mm)


def smooth_cut(a: Array, b: Array, blend_mm: float) -> Array:
    """Shape ``a`` without shape ``b``, the new edge rounded over about ``blend_mm``."""
    return -smooth_union(-a, b, blend_mm)


def smooth_field(
    axes: tuple[Array, Array, Array],
    length_mm: float,
    rng: np.random.Generator,
    extent_mm: Point = (FIELD_EXTENT_MM, FIELD_EXTENT_MM, FIELD_EXTENT_MM),
) -> Array:
    """Random field of about unit variance that changes over ``length_mm``: a cubic B-spline of white noise.

    The control points cover ``extent_mm`` on either side of the middle, whatever the voxels: with the same extent a
    patient keeps its anatomy at every resolution.
    """
    counts = [int(np.ceil(2 * extent / length_mm)) + 4 for extent in extent_mm]
    field = rng.standard_normal(counts, dtype=np.float32)
    for axis, extent, count in zip(axes, extent_mm, counts, strict=True):
        # Each contraction appends its axis behind the ones still to come.
        field = np.tensordot(field, _spline_basis((axis + extent) / length_mm + 1, count), axes=(0, 1))
    return field


def _spline_basis(positions: Array, num_controls: int) -> Array:
    """Uniform cubic B-spline basis, (position, control point), scaled to unit variance of white noise.

    Args:
        positions: in distances of control points, from the first.
    """
    distance = np.abs(positions[:, None] - np.arange(num_controls))
    near = 2 / 3 - distance**2 * (1 - distance / 2)
    far = np.maximum(2 - distance, 0) ** 3 / 6
    basis = np.where(distance < 1, near, far)
    return (basis / np.linalg.norm(basis, axis=1, keepdims=True)).astype(np.float32)
