"""ASTRA on the CPU: the projector for scans without symmetry and for fan beams (float32, batch by batch)."""

from __future__ import annotations

import weakref
from typing import Any

import astra
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taskct_core.geometry import FanBeam, Geometry


class AstraProjector:
    """Joseph's method (``linear``, ``line_fanflat`` for fans) through ASTRA's matched CPU projectors."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._pixel_edge_m = geometry.pixel_spacing_mm / 1000
        self._volume_geometry, self._projection_geometry = astra_geometries(geometry)
        kind = "line_fanflat" if isinstance(geometry, FanBeam) else "linear"
        self._projector = astra.create_projector(kind, self._projection_geometry, self._volume_geometry)
        weakref.finalize(self, astra.projector.delete, self._projector)

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        return self._each("FP", images, self.geometry.sinogram_shape)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        return self._each("BP", sinograms, self.geometry.image_shape)

    def _each(self, algorithm: str, inputs: Tensor, output_shape: tuple[int, int]) -> Tensor:
        source = np.ascontiguousarray(inputs.detach().cpu().numpy(), dtype=np.float32)
        outputs = np.zeros((len(source), *output_shape), np.float32)
        for item, output in zip(source, outputs, strict=True):
            self._run(algorithm, item, output)
        return torch.from_numpy(outputs * self._pixel_edge_m).to(inputs)

    def _run(self, algorithm: str, source: NDArray[np.float32], output: NDArray[np.float32]) -> None:
        forward = algorithm == "FP"
        image, sinogram = (source, output) if forward else (output, source)
        volume_id = astra.data2d.link("-vol", self._volume_geometry, image)
        sinogram_id = astra.data2d.link("-sino", self._projection_geometry, sinogram)
        config = astra.astra_dict(algorithm)
        config["ProjectorId"] = self._projector
        config["ProjectionDataId"] = sinogram_id
        config["VolumeDataId" if forward else "ReconstructionDataId"] = volume_id
        algorithm_id = astra.algorithm.create(config)
        try:
            astra.algorithm.run(algorithm_id)
        finally:
            astra.algorithm.delete(algorithm_id)
            astra.data2d.delete([volume_id, sinogram_id])


def astra_geometries(geometry: Geometry) -> tuple[dict[str, Any], dict[str, Any]]:
    """ASTRA's volume and projection geometry, lengths in pixel edges.

    ASTRA's x runs along the columns and its y against the rows, so our angle is turned into its frame.
    """
    height, width = geometry.image_shape
    volume = astra.create_vol_geom(height, width)
    bin_spacing = geometry.bin_spacing_mm / geometry.pixel_spacing_mm
    angles = geometry.angles - np.pi / 2
    if isinstance(geometry, FanBeam):
        distances = (geometry.source_radius_mm, geometry.detector_radius_mm)
        in_pixels = [distance / geometry.pixel_spacing_mm for distance in distances]
        return volume, astra.create_proj_geom("fanflat", bin_spacing, geometry.num_bins, angles, *in_pixels)
    return volume, astra.create_proj_geom("parallel", bin_spacing, geometry.num_bins, angles)
