"""Projection on a finer grid than reconstruction uses: LoDoPaB-CT's guard against the inverse crime."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from torch import Tensor

from taskct_core.geometry import Geometry, OdlScan, ParallelBeam
from taskct_core.geometry.resampling import linear_interpolation
from taskct_core.projection.backends import projector_for
from taskct_core.projection.matrices import guarded_matrix
from taskct_core.projection.symmetric import by_angle, multiply
from taskct_core.projection.symmetry import fold_image, is_symmetric, unfold_sinogram

GUARD_PIXELS = 1000  # LoDoPaB-CT's


def project_guarded(geometry: Geometry, images: Tensor) -> Tensor:
    """Interpolate square float32 images linearly to 1000 x 1000 pixels, and project those.

    Args:
        images: ``(batch, height, width)``.

    Returns:
        ``(batch, angle, detector)``, lengths in metres.
    """
    edge = geometry.image_shape[0]
    if isinstance(geometry, ParallelBeam) and is_symmetric(geometry):
        fine_pixel_mm = geometry.pixel_spacing_mm * edge / GUARD_PIXELS
        rays = multiply(_matrix(geometry), fold_image(images * (fine_pixel_mm / 1000), edge))
        return unfold_sinogram(by_angle(rays, geometry), *geometry.sinogram_shape)
    fine = _refined(geometry)
    axis = linear_interpolation(edge, GUARD_PIXELS)
    fine_images = np.stack([axis @ image @ axis.T for image in images.numpy()]).astype(np.float32)
    return projector_for(fine, images.dtype, images.device).project(torch.from_numpy(fine_images))


def _refined(geometry: Geometry) -> Geometry:
    if isinstance(geometry, OdlScan):
        from taskct_core.projection.odl_bridge import refined

        return refined(geometry, GUARD_PIXELS)
    fine_pixel_mm = geometry.pixel_spacing_mm * geometry.image_shape[0] / GUARD_PIXELS
    return dataclasses.replace(
        geometry, image_shape=(GUARD_PIXELS, GUARD_PIXELS), pixel_spacing_mm=fine_pixel_mm
    )


_matrix = functools.lru_cache(maxsize=2)(lambda geometry: guarded_matrix(geometry, GUARD_PIXELS))
