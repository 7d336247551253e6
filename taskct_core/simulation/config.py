"""The configuration of a simulation: the scanner, its dose, and how training slices are drawn anew."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Fraction, Positive, StrictModel
from taskct_core.geometry import FieldOfViewPolicy
from taskct_core.registry import name_of

Dose = Positive | tuple[Positive, Positive]
DOSE_WORDS = ("photons_per_ray", "dose_fraction", "noise_hu")
LODOPAB_PHOTONS_PER_RAY = 4096.0


class FreshDrawConfig(StrictModel):
    """How a training slice changes from epoch to epoch where ``simulation.fresh`` is on."""

    turn_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Slices are turned by at most so much, either way."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """They are at most so much larger or smaller, relative."""
    shift_mm: Annotated[float, Field(ge=0)] = 10.0
    """They are shifted at most so far along each axis."""
    dose_factor: tuple[Positive, Positive] = (1.0, 1.0)
    """Photons are multiplied by a draw from this range."""
    lesion_share: Fraction = 0.0
    """Share of the slices with liver that get synthetic lesions, others each epoch."""
    tumour_share: Fraction = 0.0
    """Least share of an epoch's samples whose slice has a tumour."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.dose_factor[0] <= self.dose_factor[1]:
            raise ValueError("dose_factor must be (low, high) with low <= high")
        return self


class SimulationConfig(StrictModel):
    """How full-dose slices become low-dose samples: one physical scanner of the preset's size."""

    preset: Annotated[str, name_of("taskct_core.geometry:PRESETS", "preset")] = "small"
    """The scanner's size."""
    num_angles: Count | None = None
    """Angles of the scan; None: the preset's."""
    ray_transform: str | None = None
    """`package.module:function` that makes an ODL RayTransform, which is the scanner then in place of the
    preset."""
    ray_transform_unit_mm: Positive = 1000.0
    """Length unit of its spaces: metres."""
    photons_per_ray: Dose | None = None
    """The dose, in one of three words; a pair is a range drawn for each slice. Mean count of an unattenuated
    ray; 4096 where no word is given."""
    dose_fraction: Dose | None = None
    """The dose as a fraction of the reference dose."""
    noise_hu: Dose | None = None
    """The dose as the noise that it makes in the liver region of a 300 mm water cylinder, in HU."""
    automatic_exposure: bool = False
    """Every slice gets the photons that make it as noisy as that cylinder."""
    bow_tie_mm: Positive | None = None
    """Diameter in mm of the water cylinder that a bow-tie filter evens out."""
    electronic_noise_std: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the detector's own noise, in counts."""
    logarithm: Literal["low_count", "zero_replacement"] = "low_count"
    """How counts become line integrals; `zero_replacement` is LoDoPaB-CT's way."""
    zero_count_replacement: Annotated[float, Field(gt=0, le=1)] = 0.1
    """With `zero_replacement`, counts below it become it."""
    dequantisation_noise: bool = True
    """Uniform noise of one HU on the stored whole numbers, as LoDoPaB-CT has it."""
    inverse_crime_guard: bool = True
    """Whether slices are projected on a finer grid than they are reconstructed on."""
    field_of_view: FieldOfViewPolicy = "scanner"
    """What of a slice the detector sees."""
    field_of_view_mm: Positive | None = None
    """With `scanner`, edge in mm of the field that all patients share; None: the smallest that holds every body."""
    fbp_filter: Annotated[str, name_of("taskct_core.filter_windows:FILTERS", "FBP filter")] = "hann"
    """Window of the FBP that networks start from."""
    fbp_frequency_scaling: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the detector's frequencies that the filter keeps."""
    store_sinogram: bool = False
    """Whether shards hold sinograms too, which architectures with the projector inside, TV and SIRT need."""
    fresh: bool = True
    """Training slices are moved and scanned anew in every epoch; other splits are fixed."""
    fresh_draw: FreshDrawConfig = FreshDrawConfig()
    """How much they change."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of noise and of fresh draws."""

    @classmethod
    def of_dataset(cls, recorded: dict[str, Any]) -> Self:
        """The settings that ``dataset.json`` records; what its version had no setting for is as that version did it.

        Raises:
            ConfigError: if a setting is unknown or not valid.
        """
        return cls.parse({"logarithm": "zero_replacement", "fresh": False, **recorded})

    @model_validator(mode="before")
    @classmethod
    def _fill_in_dose(cls, values: object) -> object:
        if isinstance(values, dict) and all(values.get(word) is None for word in DOSE_WORDS):
            return values | {"photons_per_ray": LODOPAB_PHOTONS_PER_RAY}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.field_of_view_mm is not None and self.field_of_view != "scanner":
            raise ValueError(
                f"field_of_view_mm is the scanner's; field_of_view: {self.field_of_view} has its own"
            )
        if self.ray_transform is not None:
            _check_ray_transform(self)
        given = {name: getattr(self, name) for name in DOSE_WORDS if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(
                f"the dose must be given in one of {', '.join(DOSE_WORDS)}, not in {' and '.join(given)}"
            )
        for name, dose in given.items():
            if isinstance(dose, tuple) and not dose[0] <= dose[1]:
                raise ValueError(f"{name} as a range must be (low, high) with low <= high")
        return self


def _check_ray_transform(config: SimulationConfig) -> None:
    if ":" not in str(config.ray_transform):
        raise ValueError("ray_transform must be package.module:function")
    if config.num_angles is not None or config.field_of_view != "scanner":
        raise ValueError(
            "an ODL ray_transform has its own angles and field of view: leave num_angles unset and "
            "field_of_view at scanner"
        )
