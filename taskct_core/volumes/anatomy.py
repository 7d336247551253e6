"""A volume made coarse enough that looking at it takes milliseconds: what the plausibility checks measure on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from taskct_core.hounsfield import LOWEST_STORED_HU
from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.volume import Volume

BODY_HU = -500  # between fat (-100) and air (-1000)
LUNG_HU = (-950, -500)  # parenchyma; bowel gas lies below
BONE_HU = 300
_LARGEST_AXIS = 128
_FEWEST_PIXELS = 24 * 24  # of a slice


@dataclass(frozen=True)
class Anatomy:
    """Every n-th voxel of a volume, and where its body lies.

    Attributes:
        hu: float32 ``(slice, row, column)``.
        labels: of the same shape: 0 background, 1 liver, 2 tumour.
        measured: where the scanner measured: not the padding at -1024.
        body: the largest connected part above -500 HU of each slice, its holes filled.
        spacing_mm: of the coarse voxels.
    """

    hu: NDArray[np.float32]
    labels: NDArray[np.uint8]
    measured: NDArray[np.bool_]
    body: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, volume: Volume) -> Anatomy:
        """Take every n-th voxel along each axis, so that none is longer than 128."""
        steps = [max(1, -(-size // _LARGEST_AXIS)) for size in volume.hu.shape]
        coarse = tuple(slice(step // 2, None, step) for step in steps)
        hu = volume.hu[coarse].astype(np.float32)
        z, y, x = (size * step for size, step in zip(volume.spacing_mm, steps, strict=True))
        body = np.stack([body_of(image) for image in hu])
        return cls(hu, volume.labels[coarse], hu > LOWEST_STORED_HU, body, (z, y, x))

    @property
    def is_recognisable(self) -> bool:
        """Whether slices have pixels enough to tell anatomy by."""
        return bool(self.hu[0].size >= _FEWEST_PIXELS)

    @property
    def tissue(self) -> NDArray[np.float32]:
        """HU of all voxels above -500, in one row."""
        return self.hu[self.hu > BODY_HU]

    @property
    def liver(self) -> NDArray[np.bool_]:
        """Where the label is liver, tumours left out."""
        return self.labels == LIVER

    @property
    def tumour(self) -> NDArray[np.bool_]:
        """Where the label is tumour."""
        return self.labels == TUMOUR

    @property
    def lungs(self) -> NDArray[np.bool_]:
        """Aerated lung: dark, but not as dark as gas, and inside the body."""
        return self.body & (self.hu > LUNG_HU[0]) & (self.hu < LUNG_HU[1])


def body_of(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest connected part of a slice above -500 HU, its holes filled."""
    parts, count = ndimage.label(image > BODY_HU)
    if count == 0:
        return np.zeros(image.shape, bool)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(largest))
