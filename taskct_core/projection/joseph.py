"""Joseph's projection weights as a sparse matrix: what ASTRA calls ``linear``.

A ray crosses the image row by row (or column by column, along the axis that it is closer to) and
reads each row by linear interpolation between two pixel centres (Joseph 1982, IEEE Trans. Med.
Imaging 1:192). Outside the image everything is zero.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from taskct_core.geometry import ParallelBeam


def joseph_matrix(geometry: ParallelBeam, angles_rad: NDArray[np.float64], num_bins: int) -> sparse.csr_array:
    """Weights of the first ``num_bins`` bins at the given angles, in pixel edges (not mm).

    Returns:
        float64 matrix of shape (angles * bins, pixels). Rows count bins fastest; columns are the
        pixels in row-major order of the image.
    """
    blocks = [_one_angle(geometry, angle, num_bins) for angle in angles_rad]
    counts, columns, weights = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    row_starts = np.concatenate([[0], np.cumsum(counts)])
    height, width = geometry.image_shape
    return sparse.csr_array(
        (weights, columns, row_starts), shape=(len(angles_rad) * num_bins, height * width)
    )


def _one_angle(
    geometry: ParallelBeam, angle_rad: float, num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Non-zeros a ray, and their columns and weights, for all bins of one angle."""
    height, width = geometry.image_shape
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    along_width = abs(cosine) > abs(sine)
    steps, span = (width, height) if along_width else (height, width)
    step_stride, span_stride = (1, width) if along_width else (width, 1)
    across, along = (cosine, sine) if along_width else (sine, cosine)

    bins = np.arange(num_bins) - (geometry.num_bins - 1) / 2
    detector = bins * (geometry.bin_spacing_mm / geometry.pixel_spacing_mm)
    step_offsets = np.arange(steps) - (steps - 1) / 2
    position = (detector[:, None] - step_offsets * along) / across + (span - 1) / 2
    lower = np.floor(position)
    fraction = position - lower

    neighbours = np.stack([lower, lower + 1], axis=-1)  # (bin, step, 2)
    weights = np.stack([1 - fraction, fraction], axis=-1) / abs(across)
    inside = (neighbours >= 0) & (neighbours < span) & (weights > 0)
    columns = neighbours * span_stride + (np.arange(steps) * step_stride)[:, None]
    return inside.sum(axis=(1, 2)), columns[inside].astype(np.int32), weights[inside]
