"""Strict, frozen configuration models of the science: simulation, task network, one trial."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from taskct_core.errors import ConfigError
from taskct_core.hounsfield import LIVER_WINDOW_HU
from taskct_core.losses import parse_mix
from taskct_core.losses.mixing import MIXINGS
from taskct_core.modes import MODES
from taskct_core.registry import name_of
from taskct_core.schema import METRICS, VALIDATION_LOSS

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Dose = Positive | tuple[Positive, Positive]
DOSE_WORDS = ("photons_per_ray", "dose_fraction", "noise_hu")
LODOPAB_PHOTONS_PER_RAY = 4096.0


class StrictModel(BaseModel):
    """Base of every configuration: immutable, and no key is accepted that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` as true, and Python takes true for 1."""
        if _holds_truth(value) and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("must not be yes, no, true or false")
        return value

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Validate plain values.

        Raises:
            ConfigError: naming every offending key, the value received and the valid names.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _as_config_error(cls, error) from None


def _holds_truth(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_holds_truth, value))
    return isinstance(value, bool)


def _takes_truth(annotation: Any) -> bool:
    """Whether truth values may stand somewhere in a field; a model inside judges its own."""
    if annotation in (bool, Any) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return True
    return any(map(_takes_truth, get_args(annotation)))


def _as_config_error(model: type[BaseModel], error: ValidationError) -> ConfigError:
    rules, received = [], []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"]) or model.__name__
        if problem["type"] == "extra_forbidden":
            valid = ", ".join(sorted(_fields_at(model, problem["loc"][:-1])))
            rules.append(f"'{path}' is not a known key (valid here: {valid})")
        else:
            rules.append(f"{path}: {problem['msg'].removeprefix('Value error, ')}")
        received.append(f"{path} = {_shortened(problem['input'])}")
    return ConfigError("; ".join(rules), "; ".join(received), "Correct the configuration and run again.")


def _shortened(value: Any, length: int = 300) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python prints
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= length else f"{text[:length]} ..."


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        for choice in (annotation, *get_args(annotation)):  # the choices of "Model | None"
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                model = choice
    return list(model.model_fields)


class FreshDrawConfig(StrictModel):
    """How a training slice changes from epoch to epoch where ``simulation.fresh`` is on."""

    turn_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # at most, either way
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1  # at most so much larger or smaller, relative
    shift_mm: Annotated[float, Field(ge=0)] = 10.0  # at most, along each axis
    dose_factor: tuple[Positive, Positive] = (1.0, 1.0)  # photons are multiplied by a draw from this range
    lesion_share: Fraction = (
        0.0  # of the slices with liver: those that get synthetic lesions, others each epoch
    )
    tumour_share: Fraction = 0.0  # least share of an epoch's samples whose slice has a tumour

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.dose_factor[0] <= self.dose_factor[1]:
            raise ValueError("dose_factor must be (low, high) with low <= high")
        return self


class SimulationConfig(StrictModel):
    """How full-dose slices become low-dose samples: one physical scanner of the preset's size."""

    preset: Annotated[str, name_of("taskct_core.geometry:PRESETS", "preset")] = "small"
    num_angles: Count | None = None  # None: the preset's
    # package.module:function that makes an odl RayTransform, which is the scanner then in place of the preset
    ray_transform: str | None = None
    ray_transform_unit_mm: Positive = 1000.0  # length unit of its spaces: metres
    # The dose in one of three words (taskct_core.simulation.exposure); a pair is a range drawn per slice.
    photons_per_ray: Dose | None = None  # mean count of an unattenuated ray; 4096 where no word is given
    dose_fraction: Dose | None = None  # of the reference dose
    noise_hu: Dose | None = None  # in the liver region of a 300 mm water cylinder
    automatic_exposure: bool = False  # every slice gets the photons that make it as noisy as that cylinder
    bow_tie_mm: Positive | None = None  # diameter of the water cylinder that a bow-tie filter evens out
    electronic_noise_std: Annotated[float, Field(ge=0)] = 0.0  # counts
    logarithm: Literal["low_count", "zero_replacement"] = "low_count"  # the second is LoDoPaB-CT's
    zero_count_replacement: Annotated[float, Field(gt=0, le=1)] = 0.1  # then, counts below it become it
    dequantisation_noise: bool = True
    inverse_crime_guard: bool = True
    field_of_view: Literal["scanner", "crop", "resize", "true_size"] = "scanner"
    # scanner: edge of the field that all patients share; None: the smallest that holds every body.
    field_of_view_mm: Positive | None = None
    fbp_filter: Annotated[str, name_of("taskct_core.filter_windows:FILTERS", "FBP filter")] = "hann"
    fbp_frequency_scaling: Annotated[float, Field(gt=0, le=1)] = 1.0
    store_sinogram: bool = False
    fresh: bool = True  # training slices are moved and scanned anew in every epoch; other splits are fixed
    fresh_draw: FreshDrawConfig = FreshDrawConfig()
    seed: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def of_dataset(cls, recorded: dict[str, Any]) -> Self:
        """The settings that ``dataset.json`` records; what its version had no setting for is as that version did it.

        Raises:
            ConfigError: if a setting is unknown or not valid.
        """
        return cls.parse({"logarithm": "zero_replacement", "fresh": False, **recorded})

    @model_validator(mode="before")
    @classmethod
    def _fill_in_dose(cls, values: Any) -> Any:
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


class TaskNetworkConfig(StrictModel):
    """The segmentation network that judges reconstructions, and its pre-training."""

    architecture: Annotated[
        str, name_of("taskct_core.task_networks:TASK_NETWORKS", "task network architecture", own=True)
    ] = "unet"
    architecture_parameters: dict[str, Any] = {}
    weights: str | None = None  # file of a trained state_dict: import it instead of pre-training
    window_hu: tuple[float, float] = LIVER_WINDOW_HU
    classes: Annotated[str, name_of("taskct_core.task_networks:CLASSES", "set of classes")] = "liver_tumour"
    epochs: Count = 20
    patience: Count = 10  # epochs without a better validation Dice before stopping
    batch_size: Count = 8
    learning_rate: Positive = 3e-3
    augmentation: bool = True
    class_weights: tuple[Positive, Positive, Positive] = (1.0, 1.0, 3.0)  # background, liver, tumour
    tumour_share: Fraction = 0.3  # least share of slices with a tumour in a batch that has any
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.window_hu[0] < self.window_hu[1]:
            raise ValueError("window_hu must be (low, high) with low < high")
        return self

    @property
    def is_imported(self) -> bool:
        """Whether the network comes trained, from a file, and is not to be pre-trained."""
        return self.weights is not None or self.architecture == "torchscript"


class TrialConfig(StrictModel):
    """One configuration trained and evaluated: what a search draws, and what a result row records."""

    mode: Annotated[str, name_of("taskct_core.modes:MODES", "training mode")] = "task_adaptive"
    alpha: Annotated[float, Field(ge=0)] = 0.5
    mixing: Annotated[str, name_of("taskct_core.losses.mixing:MIXINGS", "mixing")] = "convex"
    image_loss: str = "mse"  # a name, or a mix such as "0.84*ms_ssim + 0.16*l1"
    task_loss: Annotated[str, name_of("taskct_core.losses:TASK_LOSSES", "task loss", own=True)] = "dice_ce"
    architecture: Annotated[
        str, name_of("taskct_core.reconstructors:RECONSTRUCTORS", "architecture", own=True)
    ] = "unet"
    architecture_parameters: dict[str, Any] = {}
    learning_rate: Positive = 1e-3
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"  # over the trial's epochs
    warmup_steps: Annotated[int, Field(ge=0)] = 20  # over which the learning rate rises from 0
    gradient_clip: Positive | None = 1.0  # largest norm of a step's gradient; None: as it comes
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    # Decay, per step, of the moving average of weights that is scored and kept; 0: the weights themselves.
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    # The epoch whose weights are kept: the last, or the best by a metric column on the validation split;
    # validation_loss is the trial's own objective there.
    keep: Literal["best", "last"] = "best"
    keep_metric: str = VALIDATION_LOSS
    batch_size: Count = 8
    epochs: Count = 10
    first_phase_share: Fraction = 0.5  # of a mode of two phases: the share of the epochs before the switch
    # What the task loss compares with: the labels (slices without labels then train the image loss alone), or the
    # frozen task network's own answer on the full-dose image, which needs no labels.
    task_target: Literal["labels", "full_dose"] = "labels"
    # How the task network starts that some modes train themselves.
    own_task_network: Literal["pretrained", "scratch"] = "pretrained"
    # Of mode `front` alone (docs/front.md): how it is trained, the alphas it is scored at, those that `interpolated`
    # is fine-tuned at, and how many networks between its ends validation chooses from.
    front_way: Annotated[str, name_of("taskct_core.modes:FRONT_WAYS", "way to a front")] = "interpolated"
    front_alphas: tuple[Fraction, ...] = tuple(step / 10 for step in range(11))
    front_anchors: tuple[Fraction, ...] = (0.5, 0.9)
    front_positions: Annotated[int, Field(ge=2)] = 21
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        parse_mix(self.image_loss)
        if self.keep_metric != VALIDATION_LOSS and self.keep_metric not in METRICS:
            valid = ", ".join((VALIDATION_LOSS, *METRICS))
            raise ValueError(f"keep_metric must be one of {valid}, but got {self.keep_metric!r}")
        if self.alpha > MIXINGS[self.mixing].highest_alpha:
            raise ValueError(f"alpha must lie in [0, 1] with {self.mixing} mixing")
        if self.epochs < len(MODES[self.mode].phases):
            raise ValueError(f"{self.mode} has two phases and needs at least 2 epochs")
        _check_front(self)
        return self

    def settings(self) -> dict[str, Any]:
        """Plain values of all that the trial depends on: those of another mode are left out."""
        values = self.model_dump(mode="json")
        return values if self.mode == "front" else _without(_FRONT_SETTINGS, values)

    def fingerprint(self) -> dict[str, Any]:
        """Plain values of what must not change while a study lives, which may draw any mode.

        Settings of a front that nobody changed are left out, so that studies from before them go on.
        """
        values = self.model_dump(mode="json")
        unchanged = [name for name in _FRONT_SETTINGS if name not in self.model_fields_set]
        return values if self.mode == "front" else _without(unchanged, values)


_FRONT_SETTINGS = tuple(name for name in TrialConfig.model_fields if name.startswith("front_"))


def _without(names: Collection[str], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _check_front(config: TrialConfig) -> None:
    for name in ("front_alphas", "front_anchors"):
        alphas = getattr(config, name)
        if not alphas or list(alphas) != sorted(set(alphas)):
            raise ValueError(f"{name} must be one or more alphas, each larger than the one before")
    if config.mode != "front":
        return
    if config.alpha > 1:
        raise ValueError("alpha must lie in [0, 1] with mode front, whose networks lie between those ends")
    if config.front_anchors[0] == 0:
        raise ValueError("front_anchors must be above 0: the end at 0 is trained before them")
    stages = 1 + len(config.front_anchors)
    if config.front_way == "interpolated" and config.epochs < stages:
        raise ValueError(f"an interpolated front of {stages - 1} anchors needs at least {stages} epochs")
