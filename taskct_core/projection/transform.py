"""The differentiable ray transform."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from taskct_core.errors import DataError
from taskct_core.geometry import FanBeam, Geometry
from taskct_core.projection.backends import projector_for
from taskct_core.projection.fan_fbp import check_full_circle
from taskct_core.projection.filters import check_filter
from taskct_core.projection.linear import apply_map, describe


class RayTransform(nn.Module):
    """Line integrals of batched images, their exact adjoint, and filtered back-projection.

    Lengths are metres: an image in 1/m has dimensionless line integrals, and an image normalised by
    mu_max has line integrals divided by mu_max, as the dataset's sinograms are. Float32 or float64,
    on the device of the input; differentiable any number of times. A transform holds nothing but its
    geometry, so it is cheap to pickle; the matrices are shared by all transforms of a machine. It works
    with ``torch.func`` (``vmap``, ``jvp``, ``jacrev``), ``torch.compile(fullgraph=True)`` and ``torch.export``.

    On the CPU, values and gradients that are not finite are refused.

    >>> import torch
    >>> from taskct_core.geometry import PRESETS
    >>> transform = RayTransform(PRESETS["tiny"])
    >>> sinogram = transform(torch.zeros(2, 1, 64, 64))
    >>> tuple(sinogram.shape) == (2, 1, *PRESETS["tiny"].sinogram_shape)
    True
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self._described = describe(geometry)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, height, width) -> (batch, 1, angle, detector).

        Raises:
            DataError: if the shape or dtype is wrong, or a value on the CPU is not finite.
        """
        _check(image, "image", self.geometry.image_shape)
        return apply_map(image[:, 0], "rays", self._described)[:, None]

    def adjoint(self, sinogram: Tensor) -> Tensor:
        """Transpose of ``forward``: (batch, 1, angle, detector) -> (batch, 1, height, width).

        <forward(x), y> = <x, adjoint(y)> with plain sums as inner products.

        Raises:
            DataError: if the shape or dtype is wrong, or a value on the CPU is not finite.
        """
        _check(sinogram, "sinogram", self.geometry.sinogram_shape)
        return apply_map(sinogram[:, 0], "rays", self._described, transposed=True)[:, None]

    def fbp(self, sinogram: Tensor, filter: str = "hann", frequency_scaling: float = 1.0) -> Tensor:
        """Filtered back-projection: (batch, 1, angle, detector) -> (batch, 1, height, width).

        A parallel beam may have any angles: each counts as much as the gap to its neighbours modulo pi.

        Args:
            filter: a key of ``taskct_core.filter_windows.FILTERS``.
            frequency_scaling: cut-off as a share of the Nyquist frequency, in (0, 1].

        Raises:
            ConfigError: if the filter is unknown, or a fan beam does not cover the full circle.
            DataError: if the shape or dtype is wrong, or a value on the CPU is not finite.
        """
        _check(sinogram, "sinogram", self.geometry.sinogram_shape)
        check_filter(filter, frequency_scaling)
        if isinstance(self.geometry, FanBeam):
            check_full_circle(self.geometry)
        return apply_map(sinogram[:, 0], f"fbp {filter} {frequency_scaling}", self._described)[:, None]

    def norm(self) -> float:
        """Largest singular value of ``forward`` as a matrix; what step sizes are made of."""
        return _matrix_norm(self.geometry)

    def l2_norm(self) -> float:
        """Operator norm between the L2 spaces over metres and radians; hardly depends on the grid."""
        geometry = self.geometry
        ray_cell = geometry.angle_spacing_rad * geometry.bin_spacing_mm / 1000
        return self.norm() * math.sqrt(ray_cell) / (geometry.pixel_spacing_mm / 1000)

    def extra_repr(self) -> str:
        """Shapes, for printing a model."""
        return f"image {self.geometry.image_shape}, sinogram {self.geometry.sinogram_shape}"


def _check(tensor: Tensor, what: str, shape: tuple[int, int]) -> None:
    if tensor.ndim != 4 or tensor.shape[1] != 1 or tuple(tensor.shape[2:]) != shape:
        raise DataError(
            f"the {what} must have shape (batch, 1, {shape[0]}, {shape[1]})",
            f"shape {tuple(tensor.shape)}",
            "Check the geometry, and the axes: batch channel height width, batch channel angle detector.",
        )
    if tensor.dtype not in (torch.float32, torch.float64):
        raise DataError(
            f"the {what} must be float32 or float64",
            str(tensor.dtype),
            f"Convert it: {what}.float(); under autocast, leave the ray transform out of it.",
        )


@functools.lru_cache(maxsize=32)
def _matrix_norm(geometry: Geometry, iterations: int = 40) -> float:
    """Power iteration from the constant image: all weights are positive, so it is near the top vector."""
    projector = projector_for(geometry, torch.float32, torch.device("cpu"))
    image = torch.ones(1, *geometry.image_shape)
    squared_norm = 0.0
    for _ in range(iterations):
        image = projector.backproject(projector.project(image / image.norm()))
        squared_norm, previous = float(image.norm()), squared_norm
        if abs(squared_norm - previous) <= 1e-7 * squared_norm:
            break
    return math.sqrt(squared_norm)
