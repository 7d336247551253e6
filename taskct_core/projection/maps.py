"""What a scan does to plain tensors: linear maps with their transposes, by name."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from taskct_core.geometry import FanBeam, Geometry, OdlScan, ParallelBeam
from taskct_core.projection.backends import projector_for
from taskct_core.projection.fan_fbp import FanFbp
from taskct_core.projection.filters import filter_sinogram


class LinearMap(Protocol):
    """A linear map of batches, ``(batch, *input_shape) -> (batch, *output_shape)``, and its transpose.

    Outputs are new tensors; names are for messages.
    """

    input_shape: tuple[int, int]
    output_shape: tuple[int, int]
    input_name: str
    output_name: str

    def apply(self, inputs: Tensor) -> Tensor: ...

    def transpose(self, outputs: Tensor) -> Tensor: ...


def build_map(kind: str, geometry: Geometry) -> LinearMap:
    """The map of a kind: ``rays``, the projection, or ``fbp FILTER FREQUENCY_SCALING``.

    Cheap: matrices are built at the first use.
    """
    name, *arguments = kind.split()
    if name == "rays":
        return Rays(geometry)
    filter_name, frequency_scaling = arguments
    if isinstance(geometry, FanBeam):
        return FanFbp(geometry, filter_name, float(frequency_scaling))
    if isinstance(geometry, OdlScan):
        from taskct_core.projection.odl_bridge import OdlFbp, is_parallel

        if not is_parallel(geometry):
            return OdlFbp(geometry, filter_name, float(frequency_scaling))
    return ParallelFbp(geometry, filter_name, float(frequency_scaling))


class Rays:
    """Projection, lengths in metres."""

    input_name, output_name = "image", "sinogram"

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.input_shape, self.output_shape = geometry.image_shape, geometry.sinogram_shape

    def apply(self, inputs: Tensor) -> Tensor:
        return projector_for(self.geometry, inputs.dtype, inputs.device).project(inputs)

    def transpose(self, outputs: Tensor) -> Tensor:
        return projector_for(self.geometry, outputs.dtype, outputs.device).backproject(outputs)


class ParallelFbp:
    """Filtered back-projection of parallel beams: every angle counts as much as the gap that it fills."""

    input_name, output_name = "sinogram", "image"

    def __init__(self, geometry: ParallelBeam | OdlScan, filter_name: str, frequency_scaling: float) -> None:
        self.input_shape, self.output_shape = geometry.sinogram_shape, geometry.image_shape
        self._rays = Rays(geometry)
        self._filter = filter_name, frequency_scaling
        self._scale = (
            geometry.angular_range_rad / geometry.num_angles / (geometry.pixel_spacing_mm / 1000) ** 2
        )
        # The ramp filter is symmetric, and so is the diagonal of these weights.
        self._shares = None if geometry.angles_rad is None else torch.from_numpy(angle_shares(geometry))

    def apply(self, inputs: Tensor) -> Tensor:
        filtered = filter_sinogram(inputs, *self._filter)
        return self._rays.transpose(self._weighted(filtered)) * self._scale

    def transpose(self, outputs: Tensor) -> Tensor:
        return filter_sinogram(self._weighted(self._rays.apply(outputs)), *self._filter) * self._scale

    def _weighted(self, sinogram: Tensor) -> Tensor:
        return sinogram if self._shares is None else sinogram * self._shares.to(sinogram)[:, None]


def angle_shares(geometry: ParallelBeam | OdlScan) -> np.ndarray:
    """Each angle's share of the half circle, over that of evenly spread angles; their mean is 1.

    A projection stands for half of the gaps to its neighbours modulo pi, from where the same lines are seen,
    so that back-projection sums over the half circle once, whatever the angles: repeated, golden or random.
    """
    angles = geometry.angles % np.pi
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], append=angles[order[0]] + np.pi)  # to the next
    shares = np.empty(len(angles))
    shares[order] = (gaps + np.roll(gaps, 1)) / 2
    return shares * (geometry.num_angles / np.pi)
