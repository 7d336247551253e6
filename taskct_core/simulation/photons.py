"""HU -> the images that are stored; line integrals -> photon counts -> line integrals again, with two logarithms.

Constants and order of steps are LoDoPaB-CT's (Leuschner et al. 2021, Scientific Data 8:109).

The plain logarithm of a Poisson count is too low by 1/(2 mean), and a count of zero has none: putting a fixed number in
its place biases every ray of fewer than some ten photons, by up to 0.6 in its line integral. Two standard remedies,
both in ``observe_low_counts``:

- **Neighbours.** A starved ray takes the mean count of as many neighbouring rays as it takes to be well determined,
  as in adaptive filtering of projections (Hsieh 1998, Medical Physics 25:2139). How many follows from the mean of a
  neighbourhood, not from the ray itself, whose chance would bias the choice.
- **Half a count.** Sums of Poisson counts are Poisson, and log(sum + 1/2) is the logarithm of their mean but for terms
  of second order; electronic noise of variance v adds v / (2 mean) to the half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from taskct_core.errors import ConfigError, DataError
from taskct_core.hounsfield import MU_MAX, hu_to_mu

ZERO_COUNT_REPLACEMENT = 0.1

# Neighbourhoods (angles, bins) that a ray may be averaged over, smallest first.
NEIGHBOURHOODS = ((1, 1), (1, 3), (3, 3), (3, 7), (5, 13), (9, 25))
PILOT, WIDE_PILOT = NEIGHBOURHOODS[3], NEIGHBOURHOODS[5]
ENOUGH = 8.0  # squared mean over variance that an averaged ray must reach: as 8 photons have it
ENOUGH_OF_PILOT = 20.0
LEAST_MEAN = 0.02  # photons a ray; a pilot of fewer says nothing

Counts = NDArray[np.float64]


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

    Biased where photons are few.
    """
    return -np.log(np.maximum(counts, zero_count_replacement) / photons_per_ray) / MU_MAX


def observe_low_counts(
    counts: Counts, photons_per_ray: float | Counts, electronic_noise_std: float = 0.0
) -> Counts:
    """Counts -> dimensionless line integrals, nearly unbiased from about one photon a ray on.

    Args:
        counts: ``(angle, detector)``, electronic noise included; may be negative then.
        photons_per_ray: mean count of an unattenuated ray, one number or one a detector bin.
        electronic_noise_std: standard deviation of the electronic noise in counts.
    """
    variance = electronic_noise_std**2
    expected = _pilot(counts, variance)
    needed = ENOUGH * (expected + variance) / expected**2  # rays to average
    line_integrals = np.empty_like(counts)
    rest = np.ones(counts.shape, bool)
    for size in NEIGHBOURHOODS:
        rays = size[0] * size[1]
        chosen = rest & (needed <= rays) if size != NEIGHBOURHOODS[-1] else rest
        if chosen.any():
            added = (0.5 + variance / (2 * expected[chosen])) / rays
            mean = np.maximum(_mean(counts, size)[chosen] + added, 0.5 / rays)
            incident = np.broadcast_to(_mean_over_bins(photons_per_ray, size), counts.shape)[chosen]
            line_integrals[chosen] = np.log(incident / mean)
            rest = rest & ~chosen
        if not rest.any():
            break
    return line_integrals


def _pilot(counts: Counts, variance: float) -> Counts:
    """What a ray is expected to count, from a neighbourhood that is wide where photons are rare."""
    narrow = np.maximum(_mean(counts, PILOT), LEAST_MEAN)
    is_rare = PILOT[0] * PILOT[1] * narrow**2 < ENOUGH_OF_PILOT * (narrow + variance)
    if not is_rare.any():
        return narrow
    return np.where(is_rare, np.maximum(_mean(counts, WIDE_PILOT), LEAST_MEAN), narrow)


def _mean(counts: Counts, size: tuple[int, int]) -> Counts:
    return counts if size == (1, 1) else uniform_filter(counts, size, mode="nearest")


def _mean_over_bins(photons: float | Counts, size: tuple[int, int]) -> float | Counts:
    return photons if isinstance(photons, float) else uniform_filter(photons, size[1], mode="nearest")
