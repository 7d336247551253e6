"""How noisy a CT is, measured alike in training data and in a user's scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

_SOFT_HU = (-150.0, 250.0)
_FEWEST_PIXELS = 50
_MAD_TO_STD = 1.4826  # of a normal distribution
_LAPLACIANS = (
    np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6
)  # difference of two: no edges


def noise_hu(hu: NDArray[np.floating]) -> float | None:
    """Noise in soft tissue of slices ``(slice, row, column)``, as a standard deviation in HU; None without tissue.

    Robust form of Immerkær's estimate (1996, Comput. Vis. Image Underst. 64:300): the median absolute response to a
    filter that passes no smooth structure. White noise is measured as it is; noise of FBP, of which little is that fine,
    below it, but alike in alike scans.
    """
    values = []
    for image in hu:
        soft = (image > _SOFT_HU[0]) & (image < _SOFT_HU[1])
        if np.count_nonzero(soft) >= _FEWEST_PIXELS:
            values.append(np.median(np.abs(convolve(image.astype(np.float64), _LAPLACIANS)[soft])))
    return float(np.median(values)) * _MAD_TO_STD if values else None
