"""The dose of a scan in a medical physicist's words, and the noise that follows from it.

Three words say the same of a scan of known geometry and filter:

- ``photons_per_ray``: mean count of an unattenuated ray at the detector's centre, N0.
- ``dose_fraction``: share of the reference dose, which is ``REFERENCE_PHOTONS_PER_MM`` photons over all angles for each
  millimetre of detector: a routine abdominal scan, of 12 HU in the water cylinder on the ``lodopab`` preset at 400 mm.
- ``noise_hu``: standard deviation in the FBP image of a water cylinder of 300 mm, as far from its centre as the liver.

The noise is exact linear propagation: a pixel of the FBP image is a weighted sum of line integrals, and a line integral
of N counts has the variance (N + v) / N^2, with v that of the electronic noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.geometry import Geometry
from taskct_core.hounsfield import MU_AIR, MU_WATER
from taskct_core.projection import RayTransform
from taskct_core.projection.filters import filter_sinogram
from taskct_core.simulation.config import Dose, SimulationConfig

REFERENCE_PHOTONS_PER_MM = 2.2e8
CYLINDER_MM = 300.0
LIVER_RADIUS_MM = 75.0  # of the liver region about the cylinder's centre
LEAST_TRANSMISSION = 0.1  # of a bow-tie filter where it is thickest
LIVER_POINTS = 8
MOST_EXPOSURE = 30.0  # that automatic exposure multiplies or divides by, as a tube's current has a range; metal asks for more


def photons_per_ray(config: SimulationConfig, geometry: Geometry) -> Dose:
    """The configured dose as photons a ray of a geometry; of a range, both ends."""
    if config.photons_per_ray is not None:
        return config.photons_per_ray
    if config.dose_fraction is not None:
        photons = REFERENCE_PHOTONS_PER_MM * geometry.bin_spacing_mm / geometry.num_angles
        return _each(config.dose_fraction, lambda fraction: fraction * photons)
    assert config.noise_hu is not None
    first, second = _variance_terms(config, geometry)
    return _each(
        config.noise_hu,
        lambda hu: (first + math.sqrt(first**2 + 4 * second * hu**2)) / (2 * hu**2),
    )


def dose_in_words(config: SimulationConfig, geometry: Geometry) -> dict[str, Dose]:
    """The configured dose in all three words."""
    photons = photons_per_ray(config, geometry)
    reference = REFERENCE_PHOTONS_PER_MM * geometry.bin_spacing_mm / geometry.num_angles
    return {
        "photons_per_ray": photons,
        "dose_fraction": _each(photons, lambda count: count / reference),
        "noise_hu": _each(photons, lambda count: cylinder_noise_hu(config, geometry, count)),
    }


def cylinder_noise_hu(config: SimulationConfig, geometry: Geometry, photons: float) -> float:
    """Noise of photons a ray in the liver region of the 300 mm water cylinder, in HU."""
    first, second = _variance_terms(config, geometry)
    return math.sqrt(first / photons + second / photons**2)


def bow_tie(
    config: SimulationConfig, geometry: Geometry, path_scale: float = 1.0
) -> NDArray[np.float64] | float:
    """Transmission of the bow-tie filter, one value a bin; 1 without one.

    It adds the water that the cylinder lacks beside its centre, as far as ``LEAST_TRANSMISSION`` allows.
    """
    if config.bow_tie_mm is None:
        return 1.0
    missing_mm = config.bow_tie_mm - _chords_mm(geometry, config.bow_tie_mm, path_scale)
    return np.maximum(np.exp(-MU_WATER * missing_mm / 1000), LEAST_TRANSMISSION)


def exposure_factor(
    line_integrals: NDArray[np.floating],
    image: NDArray[np.floating],
    geometry: Geometry,
    transmission: NDArray[np.float64] | float,
) -> float:
    """What automatic exposure multiplies the photons with, for the noise of the 300 mm water cylinder at its centre.

    The variance of FBP in a point is nearly that of the rays through it, so the mean of their inverse counts is made
    the same in the image's centre of mass as in the cylinder's centre.

    Args:
        line_integrals: dimensionless, noise-free, ``(angle, detector)``.
        image: attenuation, ``(height, width)``.
        transmission: of the bow-tie filter.
    """
    total = float(image.sum(dtype=np.float64))
    if total <= 0:
        return 1.0
    rows, columns = (
        float((image.sum(axis=1 - axis, dtype=np.float64) * (np.arange(size) - (size - 1) / 2)).sum()) / total
        for axis, size in enumerate(image.shape)
    )
    offset = (rows * np.cos(geometry.angles) + columns * np.sin(geometry.angles)) * geometry.pixel_spacing_mm
    position = offset / geometry.bin_spacing_mm + (geometry.num_bins - 1) / 2
    bins = np.arange(geometry.num_bins)
    inverse = np.exp(line_integrals.astype(np.float64)) / transmission
    through = [np.interp(where, bins, ray) for where, ray in zip(position, inverse, strict=True)]
    factor = float(np.mean(through)) / math.exp(MU_WATER * CYLINDER_MM / 1000)
    return min(max(factor, 1 / MOST_EXPOSURE), MOST_EXPOSURE)


def _variance_terms(config: SimulationConfig, geometry: Geometry) -> tuple[float, float]:
    """(a, b) of the variance a / N0 + b / N0^2 in HU^2, in the liver region of the cylinder."""
    weights = _liver_weights(config, geometry) ** 2 * (1000 / (MU_WATER - MU_AIR)) ** 2
    transmitted = bow_tie(config, geometry) * np.exp(-MU_WATER * _chords_mm(geometry, CYLINDER_MM) / 1000)
    points = len(weights)
    poisson = float((weights / transmitted).sum()) / points
    electronic = config.electronic_noise_std**2 * float((weights / transmitted**2).sum()) / points
    return poisson, electronic


def _liver_weights(config: SimulationConfig, geometry: Geometry) -> NDArray[np.float64]:
    """(point, angle, detector): what each line integral adds to FBP in points of the liver region, in 1/m."""
    height, width = geometry.image_shape
    angles = 2 * math.pi * np.arange(LIVER_POINTS) / LIVER_POINTS
    points = torch.zeros(LIVER_POINTS, 1, height, width)
    # A field smaller than the liver region, as of a small animal or a cut-out, holds what it holds of it.
    radius = min(LIVER_RADIUS_MM / geometry.pixel_spacing_mm, (min(height, width) - 1) / 2)
    rows = np.rint((height - 1) / 2 + radius * np.cos(angles)).astype(int)
    columns = np.rint((width - 1) / 2 + radius * np.sin(angles)).astype(int)
    points[np.arange(LIVER_POINTS), 0, rows, columns] = 1
    # FBP is a symmetric filter and the adjoint, so its transpose projects and then filters.
    filtered = filter_sinogram(
        RayTransform(geometry)(points), config.fbp_filter, config.fbp_frequency_scaling
    )
    scale = geometry.angle_spacing_rad / (geometry.pixel_spacing_mm / 1000) ** 2
    return filtered[:, 0].double().numpy() * scale


def _chords_mm(geometry: Geometry, diameter_mm: float, path_scale: float = 1.0) -> NDArray[np.float64]:
    """Path of each bin's ray through a centred cylinder."""
    bins = np.arange(geometry.num_bins) - (geometry.num_bins - 1) / 2
    offset_mm = bins * (geometry.bin_spacing_mm * path_scale)
    return 2 * np.sqrt(np.maximum((diameter_mm / 2) ** 2 - offset_mm**2, 0))


def _each(dose: Dose, function: Callable[[float], float]) -> Dose:
    return (function(dose[0]), function(dose[1])) if isinstance(dose, tuple) else function(dose)
