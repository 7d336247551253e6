"""Slices of a scan -> the network's pixels, and what it made of them back onto the scan's own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import binary_opening

from taskct_core.geometry import FieldOfViewPolicy, Geometry
from taskct_core.geometry.field_of_view import FieldOfView, field_of_view
from taskct_core.geometry.resampling import resampling
from taskct_core.hounsfield import AIR_HU, HU_MAX, LOWEST_STORED_HU
from taskct_core.volumes.body import BodyBox, body_box

_SAME_PIXELS = 1e-3  # relative: over 500 pixels half a pixel is lost at the edge


@dataclass(frozen=True)
class SliceGrid:
    """The field of a scan's slices that the network sees.

    Attributes:
        view: that field.
        shape: ``(rows, columns)`` of the scan's slices.
        body: where the body lies in them; None where there is none.
    """

    view: FieldOfView
    shape: tuple[int, int]
    body: BodyBox | None

    @classmethod
    def of(
        cls,
        hu: NDArray[np.generic],
        spacing_mm: tuple[float, float],
        geometry: Geometry,
        policy: FieldOfViewPolicy,
    ) -> Self:
        """The field that the training data's policy takes from slices ``(slice, row, column)``."""
        body = body_box(hu, spacing_mm)
        centre = body.centre_mm if body is not None else (0.0, 0.0)
        view = field_of_view(policy, hu.shape[1:], spacing_mm, geometry, centre)
        if np.allclose(
            view.extent, view.pixels, rtol=_SAME_PIXELS
        ):  # whole pixels: interpolation would blur noise
            view = dataclasses.replace(view, start=(round(view.start[0]), round(view.start[1])))
        return cls(view, (hu.shape[1], hu.shape[2]), body)

    def to_network(self, hu: NDArray[np.int16 | np.float32]) -> NDArray[np.float32]:
        """Slices in HU on the network's pixels ``(slice, H, W)``; padding is air."""
        values = np.where(_padding(hu), AIR_HU, hu).astype(np.float64)
        return np.stack([self.view.image(image) for image in values]).astype(np.float32)

    def to_input(
        self, images: NDArray[np.float32], hu: NDArray[np.int16 | np.float32]
    ) -> NDArray[np.float32]:
        """The network's images on the scan's pixels; beyond its field, in padding and in metal stays ``hu``."""
        rows, columns = (self._back(axis) for axis in (0, 1))
        share = np.outer(rows.sum(axis=1), columns.sum(axis=1))  # of a pixel that lies in the field
        made = np.stack([rows @ image.astype(np.float64) @ columns.T for image in images])
        blended = made + (1 - share) * hu
        unseen = _padding(hu) | (hu > HU_MAX)
        return np.where(unseen, hu, blended).astype(np.float32)

    def labels_to_input(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels on the network's pixels -> the nearest ones on the scan's; background beyond the field."""
        places = [self._nearest(axis) for axis in (0, 1)]
        inside = [(place >= 0) & (place < self.view.pixels) for place in places]
        rows, columns = (np.where(ok, place, 0) for ok, place in zip(inside, places, strict=True))
        return np.where(np.outer(*inside), labels[:, rows[:, None], columns], np.uint8(0))

    def _back(self, axis: int) -> sparse.csr_array:
        start, extent, scale = self._inverse(axis)
        return resampling(self.view.pixels, start * scale, extent * scale, self.shape[axis])

    def _nearest(self, axis: int) -> NDArray[np.int64]:
        start, _, scale = self._inverse(axis)
        return np.floor((start + np.arange(self.shape[axis]) + 0.5) * scale).astype(np.int64)

    def _inverse(self, axis: int) -> tuple[float, float, float]:
        """Where the scan's pixels begin in its field, how many there are, and the network's pixels a pixel."""
        scale = self.view.pixels / self.view.extent[axis]
        return -self.view.start[axis], float(self.shape[axis]), scale


def _padding(hu: NDArray[np.int16 | np.float32]) -> NDArray[np.bool_]:
    """Where the scanner measured nothing: areas at -1024 HU, of which noise in air only makes single pixels."""
    return np.asarray(binary_opening(hu <= LOWEST_STORED_HU, np.ones((1, 3, 3))), bool)
