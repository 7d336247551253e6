"""Scan geometries: counts of pixels and bins, spacings in mm, angles in rad.

The coordinate axes follow ODL on the bare array: with ``h`` the offset in mm from the image centre
along axis 0 (height) and ``w`` along axis 1 (width), the parallel ray at angle ``theta`` and detector
coordinate ``s`` is ``h cos(theta) + w sin(theta) = s``. Image and detector are centred on the axis of
rotation.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import ConfigError

# LoDoPaB-CT (Leuschner et al. 2021, Scientific Data 8:109): field of view and detector half-width.
LODOPAB_FIELD_MM = 260.0
LODOPAB_DETECTOR_HALF_WIDTH_MM = 183.84776


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """What every geometry has: an image grid, a flat equidistant detector and a list of angles.

    Attributes:
        image_shape: ``(height, width)`` in pixels.
        pixel_spacing_mm: edge of a square pixel.
        num_bins: detector bins.
        bin_spacing_mm: distance of neighbouring bin centres.
        num_angles: number of projections.
        angles_rad: the angles; ``None`` puts them evenly at half offset (see ``angles``).
    """

    image_shape: tuple[int, int]
    pixel_spacing_mm: float
    num_bins: int
    bin_spacing_mm: float
    num_angles: int
    angles_rad: tuple[float, ...] | None = None

    angular_range_rad = math.pi

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if self.angles_rad is not None:
            angles = tuple(self.angles_rad)
            _require(
                all(map(_is_finite, angles)),
                "angles_rad must hold num_angles finite angles",
                f"angles_rad = {angles!r}",
            )
            object.__setattr__(self, "angles_rad", tuple(map(float, angles)))
        _require(
            len(self.image_shape) == 2 and all(_is_count(n) for n in self.image_shape),
            "image_shape must be two positive whole numbers (height, width)",
            f"image_shape = {self.image_shape}",
        )
        for name in ("num_bins", "num_angles"):
            _require(
                _is_count(getattr(self, name)),
                f"{name} must be a positive whole number",
                f"{name} = {getattr(self, name)!r}",
            )
        for name in ("pixel_spacing_mm", "bin_spacing_mm"):
            _require_positive(name, getattr(self, name))
        if self.angles_rad is not None:
            _require(
                len(self.angles_rad) == self.num_angles,
                "angles_rad must hold num_angles finite angles",
                f"{len(self.angles_rad)} angles with num_angles = {self.num_angles}",
            )

    @property
    def angles(self) -> NDArray[np.float64]:
        """The angles in rad; without ``angles_rad``, ``(k + 1/2) * range / num_angles``."""
        if self.angles_rad is not None:
            return np.asarray(self.angles_rad, np.float64)
        return (np.arange(self.num_angles, dtype=np.float64) + 0.5) * (
            self.angular_range_rad / self.num_angles
        )

    @property
    def angle_spacing_rad(self) -> float:
        """The share of the angular range that one projection stands for."""
        if self.angles_rad is None or self.num_angles == 1:
            return self.angular_range_rad / self.num_angles
        return float(np.ptp(self.angles)) / (self.num_angles - 1)

    @property
    def sinogram_shape(self) -> tuple[int, int]:
        """``(angle, detector)``."""
        return self.num_angles, self.num_bins

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which ``geometry_from_dict`` makes an equal geometry."""
        return {"kind": type(self).__name__, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of ``to_dict``.

        Raises:
            ConfigError: if a key is missing, unknown or invalid.
        """
        fields = dict(values)
        kind = fields.pop("kind", cls.__name__)
        _require(kind == cls.__name__, f"the geometry's kind must be {cls.__name__}", f"kind = {kind!r}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigError(
                f"a {cls.__name__} must have its declared fields",
                str(error),
                "Pass what to_dict() returned.",
            ) from None


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(_Scan):
    """Parallel rays; half-offset angles cover [0, pi). See the module for axes."""


@dataclass(frozen=True, kw_only=True)
class FanBeam(_Scan):
    """Rays from a point source to a flat detector; half-offset angles cover [0, 2 pi).

    The source lies at ``(-sin(theta), cos(theta)) * -source_radius_mm`` in ``(h, w)``, the detector on
    the other side at ``detector_radius_mm``; ``bin_spacing_mm`` is measured on the detector.
    """

    source_radius_mm: float
    detector_radius_mm: float

    angular_range_rad = 2 * math.pi

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive("source_radius_mm", self.source_radius_mm)
        _require_positive("detector_radius_mm", self.detector_radius_mm)
        half_diagonal_mm = math.hypot(*self.image_shape) * self.pixel_spacing_mm / 2
        _require(
            self.source_radius_mm > half_diagonal_mm,
            f"source_radius_mm must exceed the image's half diagonal, {half_diagonal_mm:g} mm",
            f"source_radius_mm = {self.source_radius_mm!r}",
        )


@dataclass(frozen=True, kw_only=True)
class OdlScan(_Scan):
    """What an ODL ray transform scans; ``taskct_core.projection.odl_bridge.odl_scan`` makes it.

    Attributes:
        ray_transform: ``package.module:function``, which makes the ODL operator.
        unit_mm: length unit of the ODL spaces.
    """

    ray_transform: str
    unit_mm: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive("unit_mm", self.unit_mm)


Geometry = ParallelBeam | FanBeam | OdlScan

FieldOfViewPolicy = Literal[
    "scanner", "crop", "resize", "true_size"
]  # see taskct_core.geometry.field_of_view


def geometry_from_dict(values: dict[str, Any]) -> Geometry:
    """Inverse of a geometry's ``to_dict``.

    Raises:
        ConfigError: if the kind is unknown, or a key is missing, unknown or invalid.
    """
    kinds: dict[str, type[Geometry]] = {cls.__name__: cls for cls in (ParallelBeam, FanBeam, OdlScan)}
    kind = values.get("kind", ParallelBeam.__name__)
    is_known = isinstance(kind, str) and kind in kinds
    _require(is_known, f"a geometry's kind must be one of {', '.join(kinds)}", f"kind = {kind!r}")
    return kinds[str(kind)].from_dict(values)


def with_field_of_view(geometry: ParallelBeam, field_mm: float) -> ParallelBeam:
    """The same scan of a field of another edge: pixels and bins grow with it, their counts stay.

    Raises:
        ConfigError: if the edge is not positive and finite.
    """
    _require_positive("field_of_view_mm", field_mm)
    pixel_mm = field_mm / geometry.image_shape[0]
    bin_mm = geometry.bin_spacing_mm * (pixel_mm / geometry.pixel_spacing_mm)
    return dataclasses.replace(geometry, pixel_spacing_mm=pixel_mm, bin_spacing_mm=bin_mm)


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value > 0)


def _is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _require_positive(name: str, value: object) -> None:
    _require(
        _is_finite(value) and value > 0,
        f"{name} must be a positive finite number",
        f"{name} = {value!r}",
    )


def _require(condition: bool, rule: str, received: str) -> None:
    if not condition:
        raise ConfigError(rule, received, "Correct the geometry, or start from taskct_core.geometry.PRESETS.")


def _lodopab_like(pixels: int, num_bins: int, num_angles: int) -> ParallelBeam:
    return ParallelBeam(
        image_shape=(pixels, pixels),
        pixel_spacing_mm=LODOPAB_FIELD_MM / pixels,
        num_bins=num_bins,
        bin_spacing_mm=2 * LODOPAB_DETECTOR_HALF_WIDTH_MM / num_bins,
        num_angles=num_angles,
    )


# About pi/2 angles a pixel of the edge: what is hard about the data is the dose, not too few angles.
PRESETS: dict[str, ParallelBeam] = {
    "tiny": _lodopab_like(64, 91, 100),
    "small": _lodopab_like(128, 183, 200),
    "medium": _lodopab_like(256, 363, 400),
    "lodopab": _lodopab_like(362, 513, 1000),
}
