"""Projection matrices on disk: built once a machine, memory-mapped and so shared by its processes."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from taskct_core.geometry import ParallelBeam
from taskct_core.projection.joseph import joseph_matrix
from taskct_core.projection.symmetry import base_bins
from taskct_core.resampling import linear_interpolation


class SparseMatrix(NamedTuple):
    """Compressed rows: ``weights`` and ``columns`` of row r lie between ``row_starts`` r and r + 1."""

    row_starts: Tensor  # int32
    columns: Tensor  # int32
    weights: Tensor

    def to(self, device: torch.device) -> SparseMatrix:
        """The same matrix on a device."""
        return SparseMatrix(*(part.to(device) for part in self))


def base_matrices(geometry: ParallelBeam, dtype: torch.dtype) -> tuple[SparseMatrix, SparseMatrix]:
    """The base rays' matrix of a square symmetric scan, in pixel edges, and its transpose."""
    rays = _base_rays(geometry)
    return _as_tensors(rays, dtype), _as_tensors(rays.T.tocsr(), dtype)


def guarded_matrix(geometry: ParallelBeam, guard_pixels: int) -> SparseMatrix:
    """The base rays through the image interpolated to ``guard_pixels`` squared, in fine pixel edges.

    Interpolation and projection are linear, so their product is one matrix on the coarse pixels, half
    as large as that of the fine grid and without the fine image.
    """
    edge = geometry.image_shape[0]
    fine = dataclasses.replace(
        geometry,
        image_shape=(guard_pixels, guard_pixels),
        pixel_spacing_mm=geometry.pixel_spacing_mm * edge / guard_pixels,
    )
    axis = linear_interpolation(edge, guard_pixels)
    interpolation = sparse.kron(axis, axis, format="csr")
    angles = geometry.angles[: geometry.num_angles // 4]
    # Angle by angle, since the fine grid's matrix of all angles would take gigabytes.
    blocks = [
        joseph_matrix(fine, np.array([angle]), base_bins(geometry.num_bins)) @ interpolation
        for angle in angles
    ]
    return _as_tensors(sparse.vstack(blocks, format="csr"), torch.float32)


def _base_rays(geometry: ParallelBeam) -> sparse.csr_array:
    base_angles = geometry.angles[: geometry.num_angles // 4]
    return joseph_matrix(geometry, base_angles, base_bins(geometry.num_bins))


def _as_tensors(matrix: sparse.csr_array, dtype: torch.dtype) -> SparseMatrix:
    return SparseMatrix(
        torch.from_numpy(matrix.indptr.astype(np.int32)),
        torch.from_numpy(matrix.indices.astype(np.int32)),
        torch.from_numpy(matrix.data).to(dtype),
    )
