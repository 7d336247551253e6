"""A random abdomen with liver and lesions: the built-in source of volumes.

A patient is made in two steps: an anatomy (which tissue each voxel is, exact) and its appearance
(HU with texture, blur and noise). Shapes are defined in millimetres and in 3-D, so neighbouring
slices belong together and a seed gives the same organs at every resolution (lesions follow the voxels).
"""

from __future__ import annotations

import numpy as np

from taskct_core.phantom.appearance import render_hu
from taskct_core.phantom.body import Build, draw_body
from taskct_core.phantom.grid import Array, Grid
from taskct_core.phantom.lesions import DIAMETER_MM, draw_lesion_count, draw_lesions, place_lesions
from taskct_core.phantom.organs import draw_organs
from taskct_core.phantom.tissues import Tissue
from taskct_core.phantom.vessels import draw_liver_vessels
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.volume import Volume

MAX_SLICE_SPACING_MM = 10.0


def make_phantom(
    seed: int | tuple[int, ...],
    num_slices: int = 24,
    pixels: int = 256,
    lesions: int | None = None,
    patient: str = "phantom",
    lesion_diameter_mm: tuple[float, float] = DIAMETER_MM,
) -> Volume:
    """Make one random patient.

    Args:
        seed: of everything random; the same seed gives the same patient.
        num_slices: spread over the liver, at most 10 mm apart.
        pixels: height and width of a slice; the pixel spacing follows from the body's width.
        lesions: how many to place (fewer where the liver is full); None draws 1 to 8.
        patient: the volume's name.
        lesion_diameter_mm: of the smallest and the largest lesion.

    Returns:
        int16 HU in [-1024, 3071] and exact labels, ``(num_slices, pixels, pixels)``.
    """
    parts = np.random.SeedSequence(seed).spawn(8)
    build_rng, warp_rng, body_rng, organ_rng, vessel_rng, count_rng, lesion_rng, look_rng = map(
        np.random.default_rng, parts
    )
    build = Build.draw(build_rng)
    axes, spacing_mm = _axes(build, num_slices, pixels, build_rng)
    grid = Grid.make(axes, warp_rng)

    tissue = np.zeros(grid.shape, np.uint8)
    frame = draw_body(tissue, grid, build, body_rng)
    draw_organs(tissue, grid, build, frame, organ_rng)
    draw_liver_vessels(tissue, grid, build, vessel_rng)
    count = draw_lesion_count(count_rng) if lesions is None else lesions
    placed = place_lesions(tissue, grid, count, lesion_rng, diameter_mm=lesion_diameter_mm)
    tumour, lesion_hu = draw_lesions(tissue, grid, placed, lesion_rng)

    labels = np.isin(tissue, (Tissue.LIVER, Tissue.LIVER_VESSEL)).astype(np.uint8) * LIVER
    labels[tumour] = TUMOUR
    hu = render_hu(tissue, tumour, lesion_hu, grid, spacing_mm, look_rng)
    return Volume(patient=patient, hu=hu, labels=labels, spacing_mm=spacing_mm)


def _axes(
    build: Build, num_slices: int, pixels: int, rng: np.random.Generator
) -> tuple[tuple[Array, Array, Array], tuple[float, float, float]]:
    low, high = build.draw_head_to_toe(rng)
    slice_mm = min((high - low) / num_slices, MAX_SLICE_SPACING_MM)
    pixel_mm = 2 * build.half_width * rng.uniform(1.08, 1.2) / pixels
    z = 0.5 * (low + high) + slice_mm * (np.arange(num_slices) - 0.5 * (num_slices - 1))
    y = pixel_mm * (np.arange(pixels) - 0.5 * (pixels - 1)) + rng.uniform(-8, 8)
    x = pixel_mm * (np.arange(pixels) - 0.5 * (pixels - 1)) + rng.uniform(-5, 5)
    axes = (z.astype(np.float32), y.astype(np.float32), x.astype(np.float32))
    return axes, (round(slice_mm, 4), round(pixel_mm, 4), round(pixel_mm, 4))
