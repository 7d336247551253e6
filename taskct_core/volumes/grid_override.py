"""What is known better than a header knows it: directions and spacing, for all patients or for some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np

from taskct_core.errors import ConfigError
from taskct_core.volumes.voxel_grid import VoxelGrid, with_orientation

Spacing = tuple[float, float, float]
Setting = TypeVar("Setting")
_RANGE = re.compile(r"(.*?)(\d+)\.\.(\d+)(.*)")


@dataclass(frozen=True)
class GridOverride:
    """One patient's directions and spacing where the header is not to be trusted.

    Attributes:
        orientation: where the stored axes grow to, e.g. "LPS"; None trusts the header.
        spacing_mm: ``(slice, row, column)`` as ``Volume`` has them; None trusts the header.
    """

    orientation: str | None = None
    spacing_mm: Spacing | None = None

    def of(self, grid: VoxelGrid) -> VoxelGrid:
        """The grid with what is known better."""
        if self.orientation is not None:
            grid = VoxelGrid(grid.shape, with_orientation(grid.affine, self.orientation))
        return grid if self.spacing_mm is None else grid.with_spacing(self.spacing_mm)


@dataclass(frozen=True)
class GridOverrides:
    """The overrides of a source: one value for all its patients, or one for each pattern of names.

    A pattern is a name, may hold ``*`` and ``?``, and ``volume-28..47`` means the numbers from 28 to 47. The
    first that fits is taken; patients whom none fits keep their headers.
    """

    orientation: str | Mapping[str, str] | None = None
    spacing_mm: Spacing | Mapping[str, Spacing] | None = None

    def of(self, patient: str) -> GridOverride:
        """What holds for one patient."""
        return GridOverride(_chosen(self.orientation, patient), _chosen(self.spacing_mm, patient))

    def check_used(self, patients: list[str]) -> None:
        """Refuse a pattern that fits no patient: it is a typing error.

        Raises:
            ConfigError: naming it.
        """
        for key, setting in (("orientation", self.orientation), ("spacing_mm", self.spacing_mm)):
            patterns = list(setting) if isinstance(setting, Mapping) else []
            unused = [pattern for pattern in patterns if not any(fits(pattern, name) for name in patients)]
            if unused:
                raise ConfigError(
                    f"each pattern of source.{key} must fit a patient of the source",
                    f"{', '.join(unused)}; patients: {', '.join(patients[:8])}{', ...' if patients[8:] else ''}",
                    "Correct the name.",
                )


TRUSTED = GridOverride()
NO_OVERRIDES = GridOverrides()


def fits(pattern: str, patient: str) -> bool:
    """Whether a patient's name fits a pattern."""
    numbers = _RANGE.fullmatch(pattern)
    if numbers is None:
        return fnmatchcase(patient, pattern)
    before, first, last, after = numbers.groups()
    number = patient[len(before) : len(patient) - len(after)]
    return (
        patient == f"{before}{number}{after}"
        and number.isdecimal()
        and int(first) <= int(number) <= int(last)
    )


def _chosen(setting: Setting | Mapping[str, Setting] | None, patient: str) -> Setting | None:
    if not isinstance(setting, Mapping):
        return setting
    return next((value for pattern, value in setting.items() if fits(pattern, patient)), None)


def checked_spacing(spacing_mm: Spacing) -> Spacing:
    """Return a spacing as given.

    Raises:
        ConfigError: unless it is three positive numbers.
    """
    values = np.asarray(spacing_mm, float)
    if values.shape != (3,) or not (np.isfinite(values).all() and (values > 0).all()):
        raise ConfigError(
            "spacing_mm must be three positive numbers: slice, row, column", f"{spacing_mm}", "Correct it."
        )
    return spacing_mm
