"""The configuration of task-based image quality: how many lesions, of what size and contrast."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from taskct_core.config import Positive, StrictModel

FEWEST_BACKGROUNDS = 8
_HU = Annotated[float, Field(ge=-200, le=200)]


class ImageQualityConfig(StrictModel):
    """Lesions and discs that are inserted into livers before the scan; the defaults are of a low-contrast metastasis."""

    backgrounds: Annotated[int, Field(ge=0)] = 0
    """Places in livers, each scanned five times; 0: not measured."""
    lesion_diameter_mm: Positive = 10.0
    """Of the inserted lesion."""
    lesion_contrast_hu: _HU = -30.0
    """Of the inserted lesion to the liver around it."""
    edge_diameter_mm: Positive = 20.0
    """Of the disc that sharpness is measured with."""
    edge_contrast_hu: _HU = -100.0
    """Of that disc."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.backgrounds < FEWEST_BACKGROUNDS:
            raise ValueError(
                f"backgrounds must be 0 or at least {FEWEST_BACKGROUNDS}: an observer learns from them what noise is"
            )
        if not (self.lesion_contrast_hu and self.edge_contrast_hu):
            raise ValueError("lesion_contrast_hu and edge_contrast_hu must not be 0")
        return self
