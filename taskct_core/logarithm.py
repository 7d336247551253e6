"""The logarithm of photon counts, without the bias that few photons give it.

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

# Neighbourhoods (angles, bins) that a ray may be averaged over, smallest first.
NEIGHBOURHOODS = ((1, 1), (1, 3), (3, 3), (3, 7), (5, 13), (9, 25))
PILOT, WIDE_PILOT = NEIGHBOURHOODS[3], NEIGHBOURHOODS[5]
ENOUGH = 8.0  # squared mean over variance that an averaged ray must reach: as 8 photons have it
ENOUGH_OF_PILOT = 20.0
LEAST_MEAN = 0.02  # photons a ray; a pilot of fewer says nothing

Counts = NDArray[np.float64]


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
