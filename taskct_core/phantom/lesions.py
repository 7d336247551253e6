"""Liver lesions: where they lie, how large they are and how they differ from the liver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taskct_core.phantom.grid import Array, Grid, Mask, Point, TissueMap
from taskct_core.phantom.tissues import Tissue

DIAMETER_MM = (5.0, 50.0)  # of the smallest and the largest
DARKER_BY_HU, BRIGHTER_BY_HU = (25.0, 60.0), (25.0, 40.0)  # than the liver; fainter ones are hardly seen
BRIGHTER_SHARE = 0.12
# A patient's first lesion is large and dark, so that one can be found at every resolution.
FIRST_MIN_DIAMETER_MM, FIRST_DARKER_BY_HU = 32.0, (40.0, 60.0)


@dataclass(frozen=True)
class Lesion:
    """One lesion: its centre and semi-axes in mm (z, y, x), its HU against the liver, its soft edge."""

    centre: Point
    radii: Point
    contrast_hu: float
    edge_mm: float  # over which the contrast fades; the label's border is at half contrast
    necrotic: bool  # a darker core


def draw_lesion_count(rng: np.random.Generator) -> int:
    """1 to 8, three and a half on average."""
    return int(min(1 + rng.poisson(2.5), 8))


def place_lesions(
    tissue: TissueMap,
    grid: Grid,
    count: int,
    rng: np.random.Generator,
    *,
    large_first: bool = True,
    diameter_mm: tuple[float, float] = DIAMETER_MM,
) -> list[Lesion]:
    """Choose lesions inside the liver, apart from each other, each crossing the plane of a slice.

    Args:
        large_first: whether the first is large and dark, as a patient's is; a slice of many has any.
        diameter_mm: of the smallest and the largest; even the first is not larger.
    """
    smallest_mm, largest_mm = diameter_mm
    candidates = np.argwhere(tissue == Tissue.LIVER)
    lesions: list[Lesion] = []
    for _ in range(40 * count):
        if len(lesions) == count or not len(candidates):
            break
        is_large = large_first and not lesions
        smallest = min(max(FIRST_MIN_DIAMETER_MM, smallest_mm), largest_mm) if is_large else smallest_mm
        diameter = float(np.exp(rng.uniform(np.log(smallest), np.log(largest_mm))))
        voxel = candidates[rng.integers(len(candidates))]
        centre = _beside_slice(voxel, grid, diameter, rng)
        apart = all(
            np.linalg.norm(np.subtract(centre, other.centre)) > 0.5 * diameter + max(other.radii) + 4
            for other in lesions
        )
        if apart:
            contrast_hu = _draw_contrast(is_large, rng)
            lesions.append(_draw_lesion(centre, diameter, contrast_hu, rng))
    return lesions


def _beside_slice(voxel: np.ndarray, grid: Grid, diameter: float, rng: np.random.Generator) -> Point:
    z, y, x = (float(axis[i]) for axis, i in zip(grid.axes, voxel, strict=True))
    return z + rng.uniform(-0.2, 0.2) * diameter, y, x


def _draw_contrast(is_large: bool, rng: np.random.Generator) -> float:
    if is_large:
        return -float(rng.uniform(*FIRST_DARKER_BY_HU))
    if rng.random() < BRIGHTER_SHARE:
        return float(rng.uniform(*BRIGHTER_BY_HU))
    return -float(rng.uniform(*DARKER_BY_HU))


def _draw_lesion(centre: Point, diameter: float, contrast_hu: float, rng: np.random.Generator) -> Lesion:
    z, y, x = (float(r) for r in 0.5 * diameter * rng.uniform(0.8, 1.15, 3))
    return Lesion(
        centre,
        (z, y, x),
        contrast_hu,
        edge_mm=float(rng.uniform(0.8, 0.15 * diameter + 0.8)),
        necrotic=bool(diameter > 25 and contrast_hu < 0 and rng.random() < 0.5),
    )


def draw_lesions(
    tissue: TissueMap, grid: Grid, lesions: list[Lesion], rng: np.random.Generator
) -> tuple[Mask, Array]:
    """Return the mask of the lesions (bool, clipped to the liver) and the HU they add to it."""
    mask = np.zeros(grid.shape, bool)
    added_hu = np.zeros(grid.shape, np.float32)
    lobulation = grid.smooth_field(14, rng)
    in_liver = (tissue == Tissue.LIVER) | (tissue == Tissue.LIVER_VESSEL)
    for lesion in lesions:
        box = grid.box(lesion.centre, tuple(1.5 * r for r in lesion.radii))
        # Centres are chosen in scanner space; the warp moves a lesion with the liver around it.
        surface = grid.ellipsoid(_warped(lesion.centre, grid), lesion.radii, box)
        surface += lobulation[box] * np.float32(0.1 * min(lesion.radii))
        weight = np.clip(0.5 - surface / lesion.edge_mm, 0, 1)
        contrast = weight * lesion.contrast_hu
        if lesion.necrotic:
            core = np.clip(-surface / min(lesion.radii) - 0.45, 0, 0.3) / 0.3
            contrast = contrast - 22 * core
        contrast = np.where(in_liver[box], contrast, 0)
        stronger = np.abs(contrast) > np.abs(added_hu[box])
        added_hu[box][stronger] = contrast[stronger]
        mask[box] |= (surface < 0) & in_liver[box]
    return mask, added_hu


def _warped(point: Point, grid: Grid) -> Point:
    index = tuple(int(np.abs(axis - p).argmin()) for axis, p in zip(grid.axes, point, strict=True))
    z, y, x = (
        p + float(w[index] - axis[i])
        for p, w, axis, i in zip(point, grid.warped, grid.axes, index, strict=True)
    )
    return z, y, x
