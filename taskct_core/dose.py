"""HU -> the images that are stored; line integrals -> photon counts -> low-dose line integrals.

Constants and order of steps are LoDoPaB-CT's (Leuschner et al. 2021, Scientific Data 8:109).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import ConfigError, DataError
from taskct_core.hounsfield import MU_MAX, hu_to_mu

ZERO_COUNT_REPLACEMENT = 0.1


def normalise_hu(hu: NDArray[np.floating]) -> NDArray[np.floating]:
    """Hounsfield units -> attenuation / mu_max, clipped to [0, 1] as the dataset stores it."""
    return np.clip(hu_to_mu(hu) / MU_MAX, 0, 1)


def count_photons(
    line_integrals: NDArray[np.floating],
    *,
    photons_per_ray: float | NDArray[np.float64],
    rng: np.random.Generator,
    electronic_noise_std: float = 0.0,
) -> NDArray[np.float64]:
    """Detected counts: Poisson around ``photons_per_ray * exp(-line_integrals)``.

    Args:
        line_integrals: dimensionless, any shape.
        photons_per_ray: mean count of an unattenuated ray, one number or one a detector bin.
        electronic_noise_std: standard deviation in counts of Gaussian noise added to them.

    Raises:
        ConfigError: if the photons are not positive.
        DataError: if a line integral is not finite.
    """
    if not np.all(np.isfinite(photons_per_ray) & np.greater(photons_per_ray, 0)):
        raise ConfigError(
            "photons_per_ray must be positive and finite", f"{photons_per_ray!r}", "LoDoPaB-CT uses 4096."
        )
    expected = photons_per_ray * np.exp(-line_integrals.astype(np.float64))
    if not np.isfinite(expected).all():
        raise DataError(
            "line integrals must be finite numbers", "NaN or infinite ones", "Check the image projected."
        )
    counts = rng.poisson(expected).astype(np.float64)
    if electronic_noise_std > 0:
        counts += rng.normal(0.0, electronic_noise_std, counts.shape)
    return counts


def observe_counts(
    counts: NDArray[np.floating],
    *,
    photons_per_ray: float | NDArray[np.float64],
    zero_count_replacement: float = ZERO_COUNT_REPLACEMENT,
) -> NDArray[np.float64]:
    """Counts -> line integrals / mu_max in metres; counts below ``zero_count_replacement`` become it (LoDoPaB-CT).

    Biased where photons are few; see ``taskct_core.logarithm``.
    """
    return -np.log(np.maximum(counts, zero_count_replacement) / photons_per_ray) / MU_MAX
