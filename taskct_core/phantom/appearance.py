"""From the tissue map to HU: the patient's means, organ texture, the scanner's blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from taskct_core.phantom.grid import Array, Grid, Mask, TissueMap
from taskct_core.phantom.tissues import Tissue, draw_enhancement, draw_mean_hu, texture_std_hu

TEXTURE_LENGTH_MM = 1.6
BLUR_PIXELS = 0.55  # standard deviation; the area of a pixel averages what it covers
NOISE_STD_HU = 7.0
HU_RANGE = (-1024, 3071)  # of 12-bit scanners


def render_hu(
    tissue: TissueMap,
    tumour: Mask,
    lesion_hu: Array,
    grid: Grid,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Return int16 HU of the tissue map's shape."""
    means = draw_mean_hu(rng, draw_enhancement(rng))
    hu = means[tissue] + texture_std_hu()[tissue] * _texture(grid, spacing_mm, rng)
    hu += lesion_hu
    # Vessels do not run through a lesion.
    hu[tumour] -= (means[tissue] - means[Tissue.LIVER])[tumour]
    hu = gaussian_filter(hu, (0, BLUR_PIXELS, BLUR_PIXELS), truncate=3)
    noise = gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), (0, 0.6, 0.6), truncate=3)
    hu += noise * np.float32(NOISE_STD_HU / noise.std())
    return np.clip(np.rint(hu), *HU_RANGE).astype(np.int16)


def _texture(grid: Grid, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Correlated noise of unit variance: fine grain and a slow drift."""
    sigma = [TEXTURE_LENGTH_MM / s for s in spacing_mm]
    grain = gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), sigma, truncate=3)
    return np.float32(0.85 / grain.std()) * grain + np.float32(0.5) * grid.smooth_field(12, rng)
