"""Channels of model observers, scaled to the lesion: what a reader's visual system is taken to weigh an image with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_laguerre

Array = NDArray[np.float64]

LAGUERRE_GAUSS_ORDERS = 6
GABOR_ORIENTATIONS = 4
GABOR_PERIODS = (1.0, 2.0, 4.0)  # of the passbands' centres, in diameters of the lesion
# Full width at half maximum of an envelope of one octave, times the frequency of its centre.
_OCTAVE = 6 * np.log(2) / np.pi


def region_offsets(half: int, spacing_mm: float) -> tuple[Array, Array]:
    """Rows and columns of a square region of ``2 half + 1`` pixels, in mm from its central pixel."""
    along = np.arange(-half, half + 1) * spacing_mm
    rows, columns = np.meshgrid(along, along, indexing="ij")
    return rows, columns


def laguerre_gauss(rows: Array, columns: Array, diameter_mm: float) -> Array:
    """Laguerre-Gauss functions ``(channel, row, column)`` of orders 0 to 5 (Gallas & Barrett 2003, JOSA A 20:1725).

    ``exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)`` with the width a of the lesion's diameter: for lesions that look the same
    from all sides, in noise that has no direction.
    """
    squared = 2 * np.pi * (rows**2 + columns**2) / diameter_mm**2
    envelope = np.exp(-squared / 2)
    return np.stack([envelope * eval_laguerre(order, squared) for order in range(LAGUERRE_GAUSS_ORDERS)])


def gabor(rows: Array, columns: Array, diameter_mm: float) -> Array:
    """Gabor functions ``(channel, row, column)``: three passbands of an octave in four orientations, even phase.

    ``exp(-4 ln2 r^2 / w^2) cos(2 pi f (x cos t + y sin t))``, as in Yu et al. 2013 (Medical Physics 40:041908), who
    found that they predict readers of low-contrast lesions in CT; the frequencies f are one over 1, 2 and 4 diameters,
    and w of one octave. A lesion at a known place, even about its centre, needs no odd phase.
    """
    channels = []
    for period in GABOR_PERIODS:
        frequency = 1 / (period * diameter_mm)
        envelope = np.exp(-4 * np.log(2) * (rows**2 + columns**2) / (_OCTAVE / frequency) ** 2)
        for number in range(GABOR_ORIENTATIONS):
            angle = np.pi * number / GABOR_ORIENTATIONS
            along = columns * np.cos(angle) + rows * np.sin(angle)
            channels.append(envelope * np.cos(2 * np.pi * frequency * along))
    return np.stack(channels)


# Name of a set of channels -> the functions of rows, columns and the lesion's diameter, all in mm.
CHANNELS: dict[str, Callable[[Array, Array, float], Array]] = {
    "laguerre_gauss": laguerre_gauss,
    "gabor": gabor,
}
