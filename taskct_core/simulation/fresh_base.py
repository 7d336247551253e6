"""What a train shard stores of each slice so that ``taskct_core.simulation.fresh`` can scan it anew: the base.

The base is the slice on a grid of half the scanner's pixel spacing about the same centre, so that a patient who is
turned and moved is sampled from more detail than the scanner sees. It covers the scanner's field; under ``crop`` the
whole slice, since a turn brings into the field what the crop cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taskct_core.geometry import FieldOfViewPolicy
from taskct_core.geometry.field_of_view import LODOPAB_CROP, FieldOfView
from taskct_core.schema import BASE_HU, BASE_LABELS, BODY_HEIGHT_MM, BODY_WIDTH_MM, TUMOUR, TUMOUR_PIXELS
from taskct_core.volumes.body import BodyBox

FINER = 2  # base pixels along a scanner's pixel


class Base:
    """Takes the bases of one patient's slices.

    Args:
        view: the scanner's.
        policy: that the view follows.
        body: on which the scanner's field is centred. None: it limits no movement.
    """

    def __init__(self, view: FieldOfView, policy: FieldOfViewPolicy, body: BodyBox | None) -> None:
        widening = 1 / LODOPAB_CROP if policy == "crop" else 1.0
        pixels = FINER * round(view.pixels * widening)  # whole scanner pixels, so that the grids coincide
        self._view = view.widened(pixels / (FINER * view.pixels), pixels)
        self._body_mm = body.size_mm if body is not None and policy == "scanner" else (0.0, 0.0)

    def columns(
        self,
        hu: Sequence[NDArray[np.float64]],
        labels: NDArray[np.uint8],
        scanned_labels: NDArray[np.uint8],
    ) -> dict[str, NDArray[np.generic]]:
        """``schema.BASE_COLUMNS`` of slices, given as in the volume and, for their tumours, as scanned."""
        count = len(hu)
        limits = np.iinfo(np.int16)
        images = [np.clip(np.rint(self._view.image(image)), limits.min, limits.max) for image in hu]
        return {
            BASE_HU: np.stack(images).astype(np.int16),
            BASE_LABELS: np.stack([self._view.labels(label) for label in labels]),
            BODY_HEIGHT_MM: np.full(count, self._body_mm[0], np.float32),
            BODY_WIDTH_MM: np.full(count, self._body_mm[1], np.float32),
            TUMOUR_PIXELS: (scanned_labels == TUMOUR).sum(axis=(1, 2)).astype(np.int32),
        }
