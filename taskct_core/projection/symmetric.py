"""The default projector: a sparse matrix of an eighth of the rays, applied to 8 copies of the image."""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

from taskct_core.geometry import ParallelBeam
from taskct_core.projection.matrices import SparseMatrix, base_matrices
from taskct_core.projection.symmetry import (
    base_bins,
    fold_image,
    fold_sinogram,
    unfold_image,
    unfold_sinogram,
)

# Told once a process, and of no use to who runs a study.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


class SymmetricProjector:
    """Projects a geometry for which ``is_symmetric`` holds; see ``taskct_core.projection.symmetry``.

    Args:
        keep_matrices: on disk, for other processes and later.
    """

    def __init__(
        self, geometry: ParallelBeam, dtype: torch.dtype, device: torch.device, *, keep_matrices: bool = True
    ) -> None:
        self.geometry = geometry
        self.edge = max(geometry.image_shape)
        square = dataclasses.replace(geometry, image_shape=(self.edge, self.edge))
        forward, adjoint = base_matrices(square, dtype, keep_matrices)
        self._forward, self._adjoint = forward.to(device), adjoint.to(device)
        self._pixel_edge_m = geometry.pixel_spacing_mm / 1000

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        projected = self.project_folded(fold_image(images * self._pixel_edge_m, self.edge))
        return unfold_sinogram(projected, *self.geometry.sinogram_shape)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        by_column = self.backproject_folded(fold_sinogram(sinograms * self._pixel_edge_m))
        return unfold_image(by_column, self.edge, self.geometry.image_shape)

    def project_folded(self, folded: Tensor) -> Tensor:
        """What ``fold_image`` returns -> what ``unfold_sinogram`` takes, in pixel edges."""
        return by_angle(multiply(self._forward, folded), self.geometry)

    def backproject_folded(self, folded: Tensor) -> Tensor:
        """What ``fold_sinogram`` returns -> what ``unfold_image`` takes, in pixel edges."""
        return multiply(self._adjoint, folded).unflatten(0, (self.edge, self.edge)).transpose(0, 1)


def by_angle(rays: Tensor, geometry: ParallelBeam) -> Tensor:
    """A matrix's rays, (bin, angle) x lanes, as ``unfold_sinogram`` takes them: (angle, bin, lanes)."""
    return rays.unflatten(0, (base_bins(geometry.num_bins), -1)).transpose(0, 1)


def multiply(matrix: SparseMatrix, dense: Tensor) -> Tensor:
    """Sparse times dense, (rows, columns) x (columns, lanes) -> (rows, lanes).

    On a GPU this is cuSPARSE's. On a CPU, each ray is a bag of weighted pixels: PyTorch's embedding bag
    has the faster kernel of its two sparse products, and sums a row in the order of the matrix whatever
    the batch or thread count.
    """
    if dense.is_cuda:
        return multiply_csr(matrix, dense)
    if dense.shape[1] == 0:  # embedding_bag refuses rows without values
        return dense.new_zeros(len(matrix.row_starts) - 1, 0)
    return torch.nn.functional.embedding_bag(
        matrix.columns,
        dense,
        matrix.row_starts,
        mode="sum",
        per_sample_weights=matrix.weights,
        include_last_offset=True,
    )


def multiply_csr(matrix: SparseMatrix, dense: Tensor) -> Tensor:
    """``multiply`` as PyTorch's product of a sparse CSR tensor."""
    size = (len(matrix.row_starts) - 1, len(dense))
    return torch.sparse_csr_tensor(*matrix, size=size, check_invariants=False) @ dense
