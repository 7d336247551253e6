"""Which part of a slice is scanned, and how large it is taken to be: the four field-of-view policies.

- ``scanner``: one field in mm for all patients, centred on the body, with air where a slice ends. Path lengths,
  counts, noise and pixels are in true mm, as on one real scanner.
- ``crop``: the central 362/512 of the slice, called 260 mm wide whatever it was (LoDoPaB-CT). Cuts an
  abdomen off.
- ``resize``: the whole slice, called 260 mm wide. The body shrinks, so its counts are higher than real, and
  otherwise in every patient: for studies of method only.
- ``true_size``: the whole slice at the scan's own width; counts are as low as a wide body makes them.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskct_core.geometry import FieldOfViewPolicy, Geometry
from taskct_core.geometry.resampling import resampling
from taskct_core.hounsfield import AIR_HU
from taskct_core.schema import BACKGROUND, UNLABELLED

LODOPAB_CROP = 362 / 512  # share of the slice's edge
BODY_HU = -300.0  # above it is body: neither air nor most clothing
CUT_SHARE = 0.02  # of the field's outline in the body, from which on it counts as cut


@dataclass(frozen=True)
class FieldOfView:
    """A square field in a slice, resampled to the pixels of a geometry.

    Attributes:
        start: ``(row, column)`` where the field begins, in source pixels; negative beyond the slice.
        extent: ``(rows, columns)`` that it spans, in source pixels.
        pixels: edge of the resampled image.
        pixel_spacing_mm: as projected.
        path_scale: real path lengths over those in the geometry.
    """

    start: tuple[float, float]
    extent: tuple[float, float]
    pixels: int
    pixel_spacing_mm: float
    path_scale: float

    def image(self, hu: NDArray[np.floating]) -> NDArray[np.floating]:
        """Resample a slice: means over areas when pixels grow, linear interpolation when they shrink.

        Outside the slice is air.
        """
        rows, columns = (
            resampling(size, start, extent, self.pixels)
            for size, start, extent in zip(hu.shape, self.start, self.extent, strict=True)
        )
        return rows @ (hu - AIR_HU) @ columns.T + AIR_HU

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resample labels by nearest neighbour; outside the slice is background, unless nobody labelled the slice."""
        indices = [self._nearest(axis) for axis in (0, 1)]
        inside = [(index >= 0) & (index < size) for index, size in zip(indices, labels.shape, strict=True)]
        picked = labels[np.ix_(*(np.where(ok, i, 0) for ok, i in zip(inside, indices, strict=True)))]
        outside = UNLABELLED if labels.flat[0] == UNLABELLED else BACKGROUND
        return np.where(np.outer(*inside), picked, np.uint8(outside))

    def widened(self, widening: float, pixels: int) -> FieldOfView:
        """A field so many times as wide about the same centre, with so many pixels."""
        rows, columns = self.extent
        start = self.start[0] - rows * (widening - 1) / 2, self.start[1] - columns * (widening - 1) / 2
        extent = rows * widening, columns * widening
        spacing = self.pixel_spacing_mm * widening * self.pixels / pixels
        return dataclasses.replace(self, start=start, extent=extent, pixels=pixels, pixel_spacing_mm=spacing)

    def warn_if_body_cut(self, hu: NDArray[np.generic], patient: str) -> None:
        """Warn if the field's outline runs through the body in any slice of ``(slice, height, width)``."""
        rows, columns = (np.clip(self._nearest(axis)[[0, -1]], 0, hu.shape[axis + 1] - 1) for axis in (0, 1))
        field = np.greater(hu[:, rows[0] : rows[1] + 1, columns[0] : columns[1] + 1], BODY_HU)
        sides = [field[:, 0], field[:, -1], field[:, :, 0], field[:, :, -1]]
        cut = int((np.concatenate(sides, axis=1).mean(axis=1) > CUT_SHARE).sum())
        if not cut:
            return
        if self._holds(hu.shape[1:]):
            remedy = "The scan's own slices end there, so no setting brings it back."
        else:
            remedy = "field_of_view: scanner with field_of_view_mm unset holds every body."
        warnings.warn(
            f"{patient}: the field of view cuts the body in {cut} of {len(hu)} slices; tissue outside it "
            f"is neither projected nor scored. {remedy}",
            stacklevel=3,
        )

    def _holds(self, shape: tuple[int, ...]) -> bool:
        """Whether the whole slice lies in the field."""
        ends = zip(self.start, self.extent, shape, strict=True)
        return all(start < 0.5 and start + extent > size - 0.5 for start, extent, size in ends)

    def _nearest(self, axis: int) -> NDArray[np.int64]:
        step = self.extent[axis] / self.pixels
        return np.floor(self.start[axis] + (np.arange(self.pixels) + 0.5) * step).astype(np.int64)


def field_of_view(
    policy: FieldOfViewPolicy,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, float],
    geometry: Geometry,
    centre_mm: tuple[float, float] = (0.0, 0.0),
) -> FieldOfView:
    """The square field that a policy takes from slices of a shape and ``(row, column)`` spacing.

    Args:
        geometry: of the dataset; its field is the scanner's.
        centre_mm: ``(row, column)`` of the scanner's field, from the slice's centre; other policies have none.
    """
    pixels = geometry.image_shape[0]
    geometry_mm = geometry.pixel_spacing_mm * pixels
    sizes_mm = [count * spacing for count, spacing in zip(shape, spacing_mm, strict=True)]
    edge_mm = {
        "scanner": geometry_mm,
        "crop": min(sizes_mm) * LODOPAB_CROP,
        "resize": max(sizes_mm),
        "true_size": max(sizes_mm),
    }[policy]
    spans = [edge_mm / spacing for spacing in spacing_mm]
    starts = [(count - span) / 2 for count, span in zip(shape, spans, strict=True)]
    if policy == "scanner":
        starts = [
            start + mm / spacing for start, mm, spacing in zip(starts, centre_mm, spacing_mm, strict=True)
        ]
    if policy == "crop":  # whole pixels, so that 512 pixels give LoDoPaB's central 362 untouched
        spans = [float(round(span)) for span in spans]
        starts = [(count - span) // 2 for count, span in zip(shape, spans, strict=True)]
    path_scale = edge_mm / geometry_mm if policy == "true_size" else 1.0
    spacing = geometry.pixel_spacing_mm * path_scale
    return FieldOfView((starts[0], starts[1]), (spans[0], spans[1]), pixels, spacing, path_scale)
