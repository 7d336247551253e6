"""Projector for CUDA without a matrix, in Triton: rays gather pixels, and pixels gather rays.

Works on the folded arrays of ``taskct_core.projection.symmetry``, with the zero border and the weights
of ``kernel.cpp``. Every output is summed by one program in a fixed order, so results repeat exactly.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from taskct_core.geometry import ParallelBeam
from taskct_core.projection.symmetry import (
    COPIES,
    base_bins,
    fold_image,
    fold_sinogram,
    unfold_image,
    unfold_sinogram,
)

BORDER = 1
RAYS_AT_ONCE = PIXELS_AT_ONCE = 16
MOST_LANES_AT_ONCE = 64


class TritonProjector:
    """Float32 projector for a geometry for which ``is_symmetric`` holds, on the device of its inputs."""

    def __init__(self, geometry: ParallelBeam, device: torch.device) -> None:
        self.geometry = geometry
        self.edge = max(geometry.image_shape)
        self._base_shape = (geometry.num_angles // 4, base_bins(geometry.num_bins))
        spacing = geometry.bin_spacing_mm / geometry.pixel_spacing_mm
        angles = torch.from_numpy(geometry.angles[: geometry.num_angles // 4].copy())
        # A ray enters column 0 at pixel entry + entry_spacing * bin, and falls by slope a column.
        slope, centre = -angles.tan(), (self.edge - 1) / 2
        entry = -(geometry.num_bins - 1) / 2 * spacing / angles.cos() + centre - slope * centre
        length = geometry.pixel_spacing_mm / 1000 / angles.cos()
        self._rays = torch.stack([entry, spacing / angles.cos(), slope, length]).float().to(device)
        self._bins_a_pixel = math.floor(2 / spacing) + 2  # at most so many rays pass within one pixel

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        folded = fold_image(images, self.edge, BORDER)
        angles, bins = self._base_shape
        lanes = folded.shape[-1]
        sinogram = folded.new_empty(angles, bins, lanes)
        lanes_at_once = _lanes_at_once(lanes)
        grid = (triton.cdiv(bins, RAYS_AT_ONCE), triton.cdiv(lanes, lanes_at_once), angles)
        if lanes:
            _project_rays[grid](
                self._rays, folded, sinogram, angles, bins, self.edge, lanes, RAYS_AT_ONCE, lanes_at_once
            )
        return unfold_sinogram(sinogram, *self.geometry.sinogram_shape)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        folded = fold_sinogram(sinograms)
        angles, bins = self._base_shape
        lanes = folded.shape[-1]
        image = folded.new_empty(self.edge, self.edge, lanes)
        lanes_at_once = _lanes_at_once(lanes)
        grid = (triton.cdiv(self.edge, PIXELS_AT_ONCE), triton.cdiv(lanes, lanes_at_once), self.edge)
        if lanes:
            _gather_pixels[grid](
                self._rays,
                image,
                folded,
                angles,
                bins,
                self.edge,
                lanes,
                self._bins_a_pixel,
                PIXELS_AT_ONCE,
                lanes_at_once,
            )
        return unfold_image(image, self.edge, self.geometry.image_shape)


def _lanes_at_once(lanes: int) -> int:
    return min(MOST_LANES_AT_ONCE, max(COPIES, triton.next_power_of_2(lanes)))


@triton.jit
def _project_rays(  # type: ignore[no-untyped-def]
    rays,
    image,
    sinogram,
    angles,
    bins,
    edge,
    lanes,
    rays_at_once: tl.constexpr,
    lanes_at_once: tl.constexpr,
):
    """One program: neighbouring bins of one angle, for some lanes, over all columns."""
    angle = tl.program_id(2)
    bin_ = tl.program_id(0) * rays_at_once + tl.arange(0, rays_at_once)
    lane = tl.program_id(1) * lanes_at_once + tl.arange(0, lanes_at_once)
    entry = tl.load(rays + angle) + tl.load(rays + angles + angle) * bin_.to(tl.float32)
    slope = tl.load(rays + 2 * angles + angle)
    total = tl.zeros((rays_at_once, lanes_at_once), tl.float32)
    lane_mask = (lane < lanes)[None, :]
    for column in range(edge):
        position = entry + slope * column
        position = tl.minimum(tl.maximum(position, -1.0), edge * 1.0) + 1.0  # in the bordered column
        pixel = tl.minimum(tl.floor(position).to(tl.int32), edge)
        upper = position - pixel.to(tl.float32)
        first = image + (column * (edge + 2) + pixel)[:, None] * lanes + lane[None, :]
        total += (1.0 - upper)[:, None] * tl.load(first, mask=lane_mask, other=0.0)
        total += upper[:, None] * tl.load(first + lanes, mask=lane_mask, other=0.0)
    length = tl.load(rays + 3 * angles + angle)
    output = sinogram + (angle * bins + bin_)[:, None] * lanes + lane[None, :]
    tl.store(output, total * length, mask=(bin_ < bins)[:, None] & lane_mask)


@triton.jit
def _gather_pixels(  # type: ignore[no-untyped-def]
    rays,
    image,
    sinogram,
    angles,
    bins,
    edge,
    lanes,
    bins_a_pixel: tl.constexpr,
    pixels_at_once: tl.constexpr,
    lanes_at_once: tl.constexpr,
):
    """One program: neighbouring pixels of one column, for some lanes, over all angles."""
    column = tl.program_id(2)
    pixel = tl.program_id(0) * pixels_at_once + tl.arange(0, pixels_at_once)
    lane = tl.program_id(1) * lanes_at_once + tl.arange(0, lanes_at_once)
    total = tl.zeros((pixels_at_once, lanes_at_once), tl.float32)
    lane_mask = (lane < lanes)[None, :]
    for angle in range(angles):
        entry = tl.load(rays + angle)
        spacing = tl.load(rays + angles + angle)
        slope = tl.load(rays + 2 * angles + angle)
        length = tl.load(rays + 3 * angles + angle)
        # The first ray that may pass less than a pixel below; rounding may make it one too early.
        first = tl.floor((pixel.to(tl.float32) - 1.0 - entry - slope * column) / spacing).to(tl.int32)
        for offset in tl.static_range(bins_a_pixel):
            bin_ = first + offset
            position = entry + spacing * bin_.to(tl.float32) + slope * column
            weight = tl.maximum(1.0 - tl.abs(position - pixel.to(tl.float32)), 0.0) * length
            mask = ((bin_ >= 0) & (bin_ < bins))[:, None] & lane_mask
            values = sinogram + (angle * bins + bin_)[:, None] * lanes + lane[None, :]
            total += weight[:, None] * tl.load(values, mask=mask, other=0.0)
    output = image + (column * edge + pixel)[:, None] * lanes + lane[None, :]
    tl.store(output, total, mask=(pixel < edge)[:, None] & lane_mask)
