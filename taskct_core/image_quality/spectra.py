"""Noise power spectrum and task transfer function of small regions, over spatial frequency.

Both follow AAPM TG-233 (Samei et al. 2019, Medical Physics 46:e735), radially averaged up to the Nyquist frequency of the
pixels. Regions are ``(row, column)`` in HU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values over spatial frequencies in 1/mm, ascending."""

    frequencies: Array
    values: Array

    def mean_frequency(self) -> float:
        """The values' centre of mass: TG-233's average frequency of an NPS. NaN where nothing is positive."""
        total = float(self.values.sum())
        return float((self.frequencies * self.values).sum()) / total if total > 0 else math.nan

    def first_below(self, level: float) -> float:
        """Where the curve first falls below a level, linear between points; its last frequency if it never does."""
        below = np.flatnonzero(self.values < level)
        if not len(below):
            return float(self.frequencies[-1])
        if (end := int(below[0])) == 0:
            return float(self.frequencies[0])
        pair = slice(end - 1, end + 1)
        return float(np.interp(-level, -self.values[pair], self.frequencies[pair]))


def noise_power(noise: Sequence[Array], spacings_mm: Sequence[float]) -> Curve:
    """The noise power spectrum in HU^2 mm^2, a mean over regions.

    ``NPS(u, v) = dx dy / (Nx Ny) |DFT(noise)|^2``, whose integral over all frequencies is the variance.

    Args:
        noise: images of noise alone: the difference of two scans of the same over the root of two.
        spacings_mm: of each one's pixels.
    """
    powers, radii = [], []
    for region, spacing in zip(noise, spacings_mm, strict=True):
        power = np.abs(np.fft.fft2(region - region.mean())) ** 2 * spacing**2 / region.size
        powers.append(power)
        radii.append(_radii(region.shape, spacing))
    rings = _Rings.of(noise[0].shape, max(spacings_mm))
    # The mean of a region was taken out, so its zero frequency says nothing.
    frequencies, values = (rings.mean(radii, of_pixels)[1:] for of_pixels in (radii, powers))
    return Curve(frequencies, values)


def task_transfer(
    measured: Sequence[Array], inserted: Sequence[Array], spacings_mm: Sequence[float]
) -> Curve:
    """The task transfer function: the amplitude of what was inserted that the images keep, over frequency.

    TG-233 takes it from the edge of a rod of which only the contrast is known. Here the inserted disc itself is known, so
    it is the least-squares gain of each ring of frequencies, ``sum Re(M conj I) / sum |I|^2``, which needs no fine
    sampling of the edge. The gain at zero frequency is 1 for images without bias of contrast; the curve is not scaled to
    that, so that a loss of contrast is seen as what it is.

    Args:
        measured: mean image with the disc minus mean image without.
        inserted: the disc on the same pixels.
        spacings_mm: of each one's pixels.
    """
    crosses, powers, radii = [], [], []
    for image, disc, spacing in zip(measured, inserted, spacings_mm, strict=True):
        spectrum = np.fft.fft2(disc)
        crosses.append((np.fft.fft2(image) * spectrum.conj()).real)
        powers.append(np.abs(spectrum) ** 2)
        radii.append(_radii(image.shape, spacing))
    rings = _Rings.of(measured[0].shape, max(spacings_mm))
    inserted_power = rings.mean(radii, powers)
    # The frequency of a ring is that of the disc's power in it, of which there is little near the disc's own zeros.
    weighted = [radius * power for radius, power in zip(radii, powers, strict=True)]
    return Curve(rings.mean(radii, weighted) / inserted_power, rings.mean(radii, crosses) / inserted_power)


def _radii(shape: tuple[int, ...], spacing_mm: float) -> Array:
    rows, columns = (np.fft.fftfreq(size, spacing_mm) for size in shape)
    radii: Array = np.hypot(*np.meshgrid(rows, columns, indexing="ij"))
    return radii


@dataclass(frozen=True)
class _Rings:
    """Ranges of frequency about 0, w, 2 w, ... up to Nyquist, as wide as the regions resolve."""

    count: int
    width: float

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing_mm: float) -> _Rings:
        width = 1 / (min(shape) * spacing_mm)
        return cls(1 + int(0.5 / spacing_mm / width + 1e-9), width)

    def mean(self, radii: Sequence[Array], values: Sequence[Array]) -> Array:
        """Mean of values ``(region, row, column)`` in each ring."""
        ring = np.rint(np.stack(radii) / self.width).astype(int).ravel()
        sums, counts = np.bincount(ring, np.stack(values).ravel()), np.bincount(ring)
        return (sums[: self.count] / counts[: self.count]).astype(np.float64)
