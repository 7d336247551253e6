"""Synthetic lesions in the labelled livers of real CT, for training where patients with tumours are few.

Sizes, contrasts and shapes are those of the phantom's lesions (``taskct_core.phantom.lesions``), uneven inside as real
ones are. The scan's own noise and texture stay; what a lesion replaces are the vessels inside it. How like real tumours they are is measured by
``benchmarks/real_ct/lesion_statistics.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from taskct_core.phantom.grid import Array, Grid
from taskct_core.phantom.lesions import draw_lesion_count, draw_lesions, place_lesions
from taskct_core.phantom.tissues import Tissue
from taskct_core.random_streams import random_stream
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.sources import read_volume
from taskct_core.volumes.volume import Volume, VolumeReference

VESSEL_SCALE_MM = 1.3  # vessels are wider than this, and stand out of the liver's own coarse texture
# How far coarse texture and fine grain may reach under a lesion, in standard deviations of the liver's own, estimated
# from the median absolute deviation. Vessels reach further.
TEXTURE_LIMIT, NOISE_LIMIT = 1.5, 2.0
# Tumours are not even inside: standard deviation, drawn, and length of the smooth field that a lesion's HU vary by. In 108
# sections of 3D-IRCADb-01's first patient's tumours the spread at 3 mm is 7.5 to 11.5 HU, of which the scan's noise is 4.
UNEVEN_BY_HU, UNEVEN_OVER_MM = (6.0, 20.0), 6.0


@dataclass(frozen=True, kw_only=True)
class LesionedReference(VolumeReference):
    """Another patient's volume with synthetic lesions in its liver.

    Attributes:
        base: the volume as it is.
        seed: with the draw's number and the patient's name, of the lesions.
        draw: which of several draws for the same patient.
    """

    base: VolumeReference
    seed: int
    draw: int

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the volume as it is."""
        return self.base.files

    @property
    def label_files(self) -> tuple[Path, ...]:
        return self.base.label_files

    @property
    def looks_itself(self) -> bool:
        """Yes: what is plausible is judged by the real liver."""
        return True

    def read(self) -> Volume:
        volume = read_volume(self.base)
        rng = random_stream(self.seed, self.draw, self.base.patient)
        hu, labels = insert_lesions(volume.hu, volume.labels, volume.spacing_mm, rng)
        return replace(
            volume, patient=self.patient, hu=hu, labels=labels, source_fingerprint=volume.fingerprint
        )


def with_lesions(reference: VolumeReference, draws: int, seed: int) -> list[LesionedReference]:
    """One patient's volume with different lesions, ``draws`` times; each counts as a patient of the split.

    They must stay in the split of the patient they are made from.
    """
    return [
        LesionedReference(
            patient=f"{reference.patient}+lesions{draw}",
            num_slices=reference.num_slices,
            labelled=reference.labelled,
            person=reference.person,
            base=reference,
            seed=seed,
            draw=draw,
        )
        for draw in range(draws)
    ]


def insert_lesions(
    hu: NDArray[np.int16 | np.float32],
    labels: NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    count: int | None = None,
    *,
    large_first: bool = True,
) -> tuple[NDArray[np.int16 | np.float32], NDArray[np.uint8]]:
    """Put lesions into a labelled liver; a volume without liver comes back as it is.

    Args:
        hu: ``(slice, row, column)``, Hounsfield units.
        labels: of the same shape: 0 background, 1 liver, 2 tumour. Real tumours stay.
        spacing_mm: ``(slice, row, column)`` distances of neighbouring voxel centres.
        rng: draws number, places, sizes, contrasts and shapes.
        count: of lesions, at most; fewer where they find no room. None: 1 to 8, drawn.
        large_first: whether one is large and dark, as befits a patient. A slice of many does better without, or each
            would have one.

    Returns:
        New arrays of HU (of the dtype given) and labels.
    """
    box = _box_of(labels == LIVER)
    if box is None:
        return hu, labels
    hu, labels = hu.copy(), labels.copy()
    liver = labels[box] == LIVER
    tissue = np.where(liver, np.uint8(Tissue.LIVER), np.uint8(Tissue.AIR))
    grid = _straight_grid(tissue.shape, spacing_mm)
    count = draw_lesion_count(rng) if count is None else count
    lesions = place_lesions(tissue, grid, count, rng, large_first=large_first)
    mask, added_hu = draw_lesions(tissue, grid, lesions, rng)
    unevenness = grid.smooth_field(UNEVEN_OVER_MM, rng) * np.float32(rng.uniform(*UNEVEN_BY_HU))
    added_hu += np.where(mask, unevenness, np.float32(0))
    changed = _without_vessels(hu[box].astype(np.float32), liver, mask, spacing_mm) + added_hu
    limits = np.iinfo(np.int16) if hu.dtype == np.int16 else np.finfo(np.float32)
    changed = np.clip(changed, limits.min, limits.max)
    touched = mask | (added_hu != 0)
    hu[box][touched] = (np.rint(changed) if hu.dtype == np.int16 else changed)[touched].astype(hu.dtype)
    labels[box][mask] = TUMOUR
    return hu, labels


def _without_vessels(
    hu: Array, liver: NDArray[np.bool_], lesions: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> Array:
    """The scan with vessels under the lesions cut down to the liver's texture and noise, about its median."""
    # Within slices; never so narrow that the grain of coarse voxels would count as vessels.
    sigma = (0.0, *(max(VESSEL_SCALE_MM / spacing, 0.8) for spacing in spacing_mm[1:]))
    # Means over liver voxels alone, so that fat beside the liver does not shine into it.
    weight = gaussian_filter(liver.astype(np.float32), sigma, truncate=3)
    coarse = gaussian_filter(np.where(liver, hu, 0), sigma, truncate=3) / np.maximum(weight, 1e-3)
    middle = np.median(hu[liver])
    texture = _limited(coarse - middle, liver, TEXTURE_LIMIT)
    grain = _limited(hu - coarse, liver, NOISE_LIMIT)  # what is left of fine vessels is as strong as noise
    return np.where(lesions, middle + texture + grain, hu).astype(np.float32)


def _limited(deviations: Array, liver: NDArray[np.bool_], limit: float) -> Array:
    """Deviations cut at so many standard deviations of the liver's own."""
    spread = limit * 1.4826 * float(np.median(np.abs(deviations[liver])))
    return np.clip(deviations, -spread, spread)


def _straight_grid(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Grid:
    """A grid whose middle is the origin, without the phantom's warp: real anatomy is organic already."""
    axes = [
        (np.arange(size) - (size - 1) / 2).astype(np.float32) * np.float32(spacing)
        for size, spacing in zip(shape, spacing_mm, strict=True)
    ]
    z, y, x = axes
    warped = np.meshgrid(z, y, x, indexing="ij", sparse=False)
    return Grid((z, y, x), (warped[0], warped[1], warped[2]), (float(z[-1]), float(y[-1]), float(x[-1])))


def _box_of(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box around a mask; None where it is empty."""
    if not mask.any():
        return None
    spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    z, y, x = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return z, y, x
