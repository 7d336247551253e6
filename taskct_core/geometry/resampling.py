"""Resampling along one axis as sparse weights: an image is resampled by ``rows @ image @ columns.T``."""

from __future__ import annotations

import functools

import numpy as np
import scipy.sparse as sparse


@functools.lru_cache(maxsize=64)
def resampling(size: int, start: float, extent: float, pixels: int) -> sparse.csr_array:
    """(pixels, size) weights that resample ``[start, start + extent)`` of ``size`` source pixels.

    Means over the source area where pixels grow or stay, linear interpolation where they shrink.
    Beyond the source everything counts as zero.
    """
    if extent >= pixels:
        return _area_means(size, start, extent, pixels)
    centres = start + (np.arange(pixels) + 0.5) * (extent / pixels) - 0.5
    inside = (centres > -1) & (centres < size)
    return sparse.csr_array(_interpolation(centres, size).multiply(inside[:, None]))


def linear_interpolation(size: int, pixels: int) -> sparse.csr_array:
    """(pixels, size) weights of linear interpolation to a finer grid, as scikit-image's ``resize`` has it.

    Beyond the outermost pixel centres, the image is mirrored about them.
    """
    centres = np.abs((np.arange(pixels) + 0.5) * (size / pixels) - 0.5)
    return _interpolation(np.where(centres > size - 1, 2 * (size - 1) - centres, centres), size)


def _interpolation(centres: np.ndarray, size: int) -> sparse.csr_array:
    position = np.clip(centres, 0, size - 1)
    lower = np.minimum(np.floor(position).astype(int), max(size - 2, 0))
    weights = np.concatenate([1 - (position - lower), position - lower])
    columns = np.concatenate([lower, np.minimum(lower + 1, size - 1)])
    rows = np.tile(np.arange(len(centres)), 2)
    return sparse.csr_array((weights, (rows, columns)), shape=(len(centres), size))


def _area_means(size: int, start: float, extent: float, pixels: int) -> sparse.csr_array:
    edges = start + np.arange(pixels + 1) * (extent / pixels)
    source = np.arange(size)
    overlap = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
    return sparse.csr_array(np.maximum(overlap, 0) * (pixels / extent))
