"""Filtered back-projection of full-circle fan beams with a flat detector (Kak & Slaney 1988, section 3.4.2).

Its back-projection weights each pixel by its inverse squared distance from the source, so it is not the
adjoint of the projection, and is carried out pixel by pixel here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taskct_core.errors import ConfigError
from taskct_core.geometry import FanBeam
from taskct_core.projection.filters import filter_sinogram


def fan_fbp(geometry: FanBeam, sinogram: Tensor, filter_name: str, frequency_scaling: float) -> Tensor:
    """(batch, 1, angle, detector) -> (batch, 1, height, width), lengths in metres; differentiable.

    Raises:
        ConfigError: if the angles are not the full circle's, or the filter is unknown.
    """
    if geometry.angles_rad is not None:
        raise ConfigError(
            "filtered back-projection of a fan beam needs the full circle at half offset, angles_rad=None",
            f"{geometry.num_angles} angles of its own",
            "Use taskct_core.classical.cgls, sirt or tv for other angles.",
        )
    source_m = geometry.source_radius_mm / 1000
    # The detector as it would be on the axis of rotation.
    bin_spacing_m = (
        geometry.bin_spacing_mm / 1000 * geometry.source_radius_mm / _source_to_detector_mm(geometry)
    )
    bins_m = (torch.arange(geometry.num_bins) - (geometry.num_bins - 1) / 2) * bin_spacing_m
    obliquity = (source_m / torch.hypot(bins_m, torch.tensor(source_m))).to(sinogram)
    filtered = filter_sinogram(sinogram * obliquity, filter_name, frequency_scaling)
    # Half, since the full circle measures every line twice.
    scale = geometry.angle_spacing_rad / (2 * bin_spacing_m)
    return _Gather.apply(filtered[:, 0], geometry)[:, None] * scale


class _Gather(torch.autograd.Function):
    """Sum, for each pixel, the interpolated values of the rays through it, over squared distances."""

    @staticmethod
    def forward(ctx: Any, sinogram: Tensor, geometry: FanBeam) -> Tensor:
        ctx.geometry = geometry
        padded = torch.nn.functional.pad(sinogram, (1, 1))
        image = sinogram.new_zeros(len(sinogram), int(np.prod(geometry.image_shape)))
        for angle, lower, weight, upper_weight in _rays_through_pixels(geometry, sinogram):
            image += weight * padded[:, angle, lower] + upper_weight * padded[:, angle, lower + 1]
        return image.unflatten(1, geometry.image_shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Scatter.apply(gradients[0], ctx.geometry), None


class _Scatter(torch.autograd.Function):
    """Transpose of ``_Gather``."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, geometry: FanBeam) -> Tensor:
        ctx.geometry = geometry
        pixels = image.flatten(1)
        padded = image.new_zeros(len(image), geometry.num_angles, geometry.num_bins + 2)
        for angle, lower, weight, upper_weight in _rays_through_pixels(geometry, image):
            padded[:, angle].index_add_(1, lower, weight * pixels)
            padded[:, angle].index_add_(1, lower + 1, upper_weight * pixels)
        return padded[..., 1:-1].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradients[0], ctx.geometry), None


def _rays_through_pixels(geometry: FanBeam, like: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Angle by angle, for each pixel: the lower of the two bins that see it, counted in a detector padded by
    one bin, and the weights of both. Pixels outside the fan get those of the padding, which is zero.
    """
    rows, columns = (
        (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * geometry.pixel_spacing_mm
        for count in geometry.image_shape
    )
    rows, columns = rows[:, None].to(like.device), columns[None].to(like.device)
    for angle, theta in enumerate(geometry.angles):
        across = rows * np.cos(theta) + columns * np.sin(theta)
        depth = (columns * np.cos(theta) - rows * np.sin(theta)) / geometry.source_radius_mm + 1
        detector_mm = across / depth * (_source_to_detector_mm(geometry) / geometry.source_radius_mm)
        position = (detector_mm / geometry.bin_spacing_mm + (geometry.num_bins + 1) / 2).flatten()
        position = position.clamp(0, geometry.num_bins + 1)
        lower = position.floor().clamp(max=geometry.num_bins)
        weight, fraction = depth.flatten() ** -2, position - lower
        yield angle, lower.long(), (weight * (1 - fraction)).to(like), (weight * fraction).to(like)


def _source_to_detector_mm(geometry: FanBeam) -> float:
    return geometry.source_radius_mm + geometry.detector_radius_mm
