"""The sparse matrices of symmetric scans: plain, transposed, and through a finer grid.

A product reads its dense operand again for every row, so rows that read the same values stand together,
where these are still in the processor's cache: rays of one bin at all angles, and pixels along the
columns that the rays run through. With 4 slices of 362 pixels that takes a third off the forward time.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from taskct_core.geometry import ParallelBeam
from taskct_core.geometry.resampling import linear_interpolation
from taskct_core.projection.cache import Arrays, cached_arrays
from taskct_core.projection.joseph import joseph_matrix
from taskct_core.projection.symmetry import base_bins

MATRIX_VERSION = 5  # raise it when weights, their order or their files change


class SparseMatrix(NamedTuple):
    """Compressed rows: ``weights`` and ``columns`` of row r lie between ``row_starts`` r and r + 1."""

    row_starts: Tensor  # int32
    columns: Tensor  # int32
    weights: Tensor

    def to(self, device: torch.device) -> SparseMatrix:
        """The same matrix on a device."""
        return SparseMatrix(*(part.to(device) for part in self))


def base_matrices(
    geometry: ParallelBeam, dtype: torch.dtype, keep: bool = True
) -> tuple[SparseMatrix, SparseMatrix]:
    """The base rays' matrix of a square symmetric scan, in pixel edges, and its transpose.

    Rows of the first are (bin, angle), columns (image column, image row) as of ``fold_image``; rows of the
    second are (image row, image column), columns (angle, bin) as of ``fold_sinogram``.
    Unless told not to ``keep`` them, float32 ones are kept on disk; float64 is for checks.
    """
    if dtype != torch.float64:
        geometry = _in_pixel_edges(geometry)

    def build() -> Arrays:
        rays = _base_rays(geometry)
        forward = _for_forward(rays, geometry)
        return _as_arrays("forward", forward, dtype) | _as_arrays("adjoint", rays.T.tocsr(), dtype)

    kept = keep and dtype == torch.float32
    arrays = cached_arrays("rays", _key(geometry), build) if kept else build()
    return _as_tensors("forward", arrays), _as_tensors("adjoint", arrays)


def guarded_matrix(geometry: ParallelBeam, guard_pixels: int) -> SparseMatrix:
    """The base rays through the image interpolated to ``guard_pixels`` squared, in fine pixel edges.

    Rows and columns are those of the first of ``base_matrices``.

    Interpolation and projection are linear, so their product is one matrix on the coarse pixels, half
    as large as that of the fine grid and without the fine image.
    """
    geometry = _in_pixel_edges(geometry)
    key = {**_key(geometry), "guard_pixels": guard_pixels}

    def build() -> Arrays:
        return _as_arrays("forward", _guarded_rays(geometry, guard_pixels), torch.float32)

    return _as_tensors("forward", cached_arrays("guarded-rays", key, build))


def _guarded_rays(geometry: ParallelBeam, guard_pixels: int) -> sparse.csr_array:
    edge = geometry.image_shape[0]
    fine = dataclasses.replace(
        geometry,
        image_shape=(guard_pixels, guard_pixels),
        pixel_spacing_mm=geometry.pixel_spacing_mm * edge / guard_pixels,
    )
    axis = linear_interpolation(edge, guard_pixels)
    interpolation = sparse.kron(axis, axis, format="csr")
    # Angle by angle, since the fine grid's matrix of all angles would take gigabytes.
    blocks = [_base_rays(fine, angle) @ interpolation for angle in range(geometry.num_angles // 4)]
    return _for_forward(sparse.vstack([block.astype(np.float32) for block in blocks], format="csr"), geometry)


def _base_rays(geometry: ParallelBeam, angle: int | None = None) -> sparse.csr_array:
    """Rays (angle, bin) of one of the base angles, or of all, by pixels (row, column)."""
    angles = geometry.angles[: geometry.num_angles // 4]
    chosen = angles if angle is None else angles[angle : angle + 1]
    return joseph_matrix(geometry, chosen, base_bins(geometry.num_bins))


def _for_forward(rays: sparse.csr_array, geometry: ParallelBeam) -> sparse.csr_array:
    """Reorder rays to (bin, angle), and pixels to (column, row)."""
    edge = geometry.image_shape[0]
    columns = rays.indices % edge * edge + rays.indices // edge
    order = np.arange(rays.shape[0]).reshape(-1, base_bins(geometry.num_bins)).T.ravel()
    return sparse.csr_array((rays.data, columns, rays.indptr), shape=rays.shape)[order]


def _in_pixel_edges(geometry: ParallelBeam) -> ParallelBeam:
    """Weights are in pixel edges, so scans that differ in their field of view alone share a matrix."""
    bin_spacing = round(geometry.bin_spacing_mm / geometry.pixel_spacing_mm, 12)
    return dataclasses.replace(geometry, pixel_spacing_mm=1.0, bin_spacing_mm=bin_spacing)


def _key(geometry: ParallelBeam) -> dict[str, object]:
    return {"version": MATRIX_VERSION, "geometry": geometry.to_dict()}


def _as_arrays(prefix: str, matrix: sparse.csr_array, dtype: torch.dtype) -> Arrays:
    matrix.sort_indices()
    return {
        f"{prefix}_row_starts": matrix.indptr.astype(np.int32),
        f"{prefix}_columns": matrix.indices.astype(np.int32),
        f"{prefix}_weights": matrix.data.astype(np.float64 if dtype == torch.float64 else np.float32),
    }


def _as_tensors(prefix: str, arrays: Arrays) -> SparseMatrix:
    return SparseMatrix(*(torch.from_numpy(arrays[f"{prefix}_{part}"]) for part in SparseMatrix._fields))
