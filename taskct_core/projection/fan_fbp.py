"""Filtered back-projection of full-circle fan beams with a flat detector (Kak & Slaney 1988, section 3.4.2).

Its back-projection weights each pixel by its inverse squared distance from the source, so it is not the
adjoint of the projection, and is carried out pixel by pixel here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from taskct_core.errors import ConfigError
from taskct_core.geometry import FanBeam
from taskct_core.projection.filters import filter_sinogram


class FanFbp:
    """(batch, angle, detector) -> (batch, height, width), lengths in metres; and its transpose.

    Args:
        geometry: one that passes ``check_full_circle``.
    """

    input_name, output_name = "sinogram", "image"

    def __init__(self, geometry: FanBeam, filter_name: str, frequency_scaling: float) -> None:
        self.input_shape, self.output_shape = geometry.sinogram_shape, geometry.image_shape
        self.geometry = geometry
        self._filter = filter_name, frequency_scaling
        source_m = geometry.source_radius_mm / 1000
        # The detector as it would be on the axis of rotation.
        bin_spacing_m = (
            geometry.bin_spacing_mm / 1000 * geometry.source_radius_mm / _source_to_detector_mm(geometry)
        )
        bins_m = (torch.arange(geometry.num_bins) - (geometry.num_bins - 1) / 2) * bin_spacing_m
        self._obliquity = source_m / torch.hypot(bins_m, torch.tensor(source_m))
        # Half, since the full circle measures every line twice.
        self._scale = geometry.angle_spacing_rad / (2 * bin_spacing_m)

    def apply(self, inputs: Tensor) -> Tensor:
        filtered = filter_sinogram(inputs * self._obliquity.to(inputs), *self._filter)
        return self._gather(filtered) * self._scale

    def transpose(self, outputs: Tensor) -> Tensor:
        filtered = filter_sinogram(self._scatter(outputs), *self._filter)
        return filtered * self._obliquity.to(outputs) * self._scale

    def _gather(self, sinogram: Tensor) -> Tensor:
        """Sum, for each pixel, the interpolated values of the rays through it, over squared distances."""
        padded = torch.nn.functional.pad(sinogram, (1, 1))
        image = sinogram.new_zeros(len(sinogram), int(np.prod(self.geometry.image_shape)))
        for angle, lower, weight, upper_weight in _rays_through_pixels(self.geometry, sinogram):
            image += weight * padded[:, angle, lower] + upper_weight * padded[:, angle, lower + 1]
        return image.unflatten(1, self.geometry.image_shape)

    def _scatter(self, image: Tensor) -> Tensor:
        """Transpose of ``_gather``."""
        pixels = image.flatten(1)
        padded = image.new_zeros(len(image), self.geometry.num_angles, self.geometry.num_bins + 2)
        for angle, lower, weight, upper_weight in _rays_through_pixels(self.geometry, image):
            padded[:, angle].index_add_(1, lower, weight * pixels)
            padded[:, angle].index_add_(1, lower + 1, upper_weight * pixels)
        return padded[..., 1:-1].contiguous()


def check_full_circle(geometry: FanBeam) -> None:
    """Refuse a scan that filtered back-projection cannot take.

    Raises:
        ConfigError: if the angles are not the full circle's.
    """
    if geometry.angles_rad is not None:
        raise ConfigError(
            "filtered back-projection of a fan beam needs the full circle at half offset, angles_rad=None",
            f"{geometry.num_angles} angles of its own",
            "Use taskct_core.reconstructors.classical.cgls, sirt or tv for other angles.",
        )


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
