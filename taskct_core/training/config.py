"""The configuration of one trial."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Fraction, Positive, StrictModel
from taskct_core.losses import PROBABILITY_LOSSES, TASK_LOSSES, parse_mix
from taskct_core.losses.mixing import MIXINGS
from taskct_core.modes import MODES
from taskct_core.registry import name_of
from taskct_core.schema import METRICS, VALIDATION_LOSS

Judging = Literal["first", "ensemble", "random"]


class TrialConfig(StrictModel):
    """One configuration trained and evaluated: what a search draws, and what a result row records."""

    mode: Annotated[str, name_of("taskct_core.modes:MODES", "training mode")] = "task_adaptive"
    """What is trained on what, in which order."""
    alpha: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the task loss: 0 is the image loss alone, with `convex` mixing 1 the task loss alone."""
    mixing: Annotated[str, name_of("taskct_core.losses.mixing:MIXINGS", "mixing")] = "convex"
    """How alpha makes one loss of the two."""
    image_loss: str = "mse"
    """A name, or a mix such as "0.84*ms_ssim + 0.16*l1"."""
    task_loss: Annotated[str, name_of("taskct_core.losses:TASK_LOSSES", "task loss", own=True)] = "dice_ce"
    """What the frozen task network's answer is compared by; a name, or `package.module:Name`."""
    architecture: Annotated[
        str, name_of("taskct_core.reconstructors:RECONSTRUCTORS", "architecture", own=True)
    ] = "unet"
    """The reconstructor; a name, or `package.module:Name`."""
    architecture_parameters: dict[str, Any] = {}
    """Of the reconstructor, such as `{width: 16}`."""
    learning_rate: Positive = 1e-3
    """Of AdamW, at its highest."""
    learning_rate_schedule: Annotated[
        str, name_of("taskct_core.training.schedule:SCHEDULES", "learning rate schedule")
    ] = "cosine"
    """How the learning rate falls over the trial's epochs; `cosine_each_phase`: over those of each phase."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    """Steps over which the learning rate rises from 0."""
    gradient_clip: Positive | None = 1.0
    """Largest norm of a step's gradient; None: as it comes."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW."""
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay, per step, of the moving average of weights that is scored and kept; 0: the weights themselves."""
    keep: Literal["best", "last"] = "best"
    """The epoch whose weights are kept: the last, or the best by `keep_metric`."""
    keep_metric: str = VALIDATION_LOSS
    """What `best` goes by: a metric's column on the validation split, or `validation_loss`, the trial's own
    objective there."""
    batch_size: Count = 8
    """Samples in one step of a worker."""
    epochs: Count = 10
    """How often the training slices are gone through."""
    first_phase_share: Fraction = 0.5
    """Of a mode of two phases: the share of the epochs before the switch."""
    task_target: Literal["labels", "full_dose", "full_dose_probabilities"] = "labels"
    """What the task loss compares with: the labels (slices without labels then train the image loss alone),
    or the frozen task network's own answer on the full-dose image, which needs no labels: its classes, or their
    probabilities, which the task losses `ce`, `dice`, `dice_ce` and those of one's own take that say so."""
    judges: Judging = "first"
    """Which frozen task networks give the task loss: the first (`pretrained`), or with `further_judges` the mean over
    all of them, or one of them at every step."""
    own_task_network: Literal["pretrained", "scratch"] = "pretrained"
    """Where the task network starts that some modes train themselves."""
    front_way: Annotated[str, name_of("taskct_core.modes:FRONT_WAYS", "way to a front")] = "interpolated"
    """Of mode `front` alone: how it is trained."""
    front_alphas: tuple[Fraction, ...] = tuple(step / 10 for step in range(11))
    """Of mode `front` alone: the alphas that it is scored at."""
    front_anchors: tuple[Fraction, ...] = (0.5, 0.9, 1.0)
    """Of the way `interpolated` alone: the alphas that it is fine-tuned at."""
    front_positions: Annotated[int, Field(ge=2)] = 21
    """How many networks between a front's ends validation chooses from."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of weights, order and fresh samples."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """That networks are called in while they train; losses, weights and scores are float32 in any case."""
    channels_last: bool = False
    """Memory layout of the networks' weights and activations."""
    compile: bool = False
    """Whether training steps call the networks compiled, by `torch.compile`."""
    cuda_graphs: bool = False
    """Whether a GPU replays each compiled network as a CUDA graph, by one launch instead of one a kernel."""

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
        _check_target(self)
        _check_front(self)
        _check_compile(self)
        return self

    def settings(self) -> dict[str, Any]:
        """Plain values of all that the trial depends on: those of another mode are left out."""
        values = _without(self._later_settings(), self.model_dump(mode="json"))
        return values if self.mode == "front" else _without(_FRONT_SETTINGS, values)

    def fingerprint(self) -> dict[str, Any]:
        """Plain values of what must not change while a study lives, which may draw any mode.

        Settings of a front that nobody changed are left out, so that studies from before them go on.
        """
        values = _without(self._later_settings(), self.model_dump(mode="json"))
        unchanged = [name for name in _FRONT_SETTINGS if self._is_default(name)]
        return values if self.mode == "front" else _without(unchanged, values)

    def _later_settings(self) -> list[str]:
        """Settings that came later and that nobody changed: left out, so that trials and studies from before go on."""
        return [name for name in _LATER_SETTINGS if self._is_default(name)]

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)


_LATER_SETTINGS = ("judges", "precision", "channels_last", "compile", "cuda_graphs")
_FRONT_SETTINGS = tuple(name for name in TrialConfig.model_fields if name.startswith("front_"))


def _without(names: Collection[str], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _check_target(config: TrialConfig) -> None:
    of_classes = set(TASK_LOSSES) - set(PROBABILITY_LOSSES)
    if config.task_target == "full_dose_probabilities" and config.task_loss in of_classes:
        raise ValueError(
            f"task_target full_dose_probabilities needs a task loss of {', '.join(PROBABILITY_LOSSES)}, "
            f"but got {config.task_loss}"
        )


def _check_front(config: TrialConfig) -> None:
    for name in ("front_alphas", "front_anchors"):
        alphas = getattr(config, name)
        if not alphas or list(alphas) != sorted(set(alphas)):
            raise ValueError(f"{name} must be one or more alphas, each larger than the one before")
    if config.mode != "front":
        return
    if config.judges != "first":
        raise ValueError("judges must be first with mode front")
    if config.alpha > 1:
        raise ValueError("alpha must lie in [0, 1] with mode front, whose networks lie between those ends")
    if config.front_anchors[0] == 0:
        raise ValueError("front_anchors must be above 0: the end at 0 is trained before them")
    stages = 1 + len(config.front_anchors)
    if config.front_way == "interpolated" and config.epochs < stages:
        raise ValueError(f"an interpolated front of {stages - 1} anchors needs at least {stages} epochs")


def _check_compile(config: TrialConfig) -> None:
    if config.cuda_graphs and not config.compile:
        raise ValueError("cuda_graphs must be false without compile, whose networks they replay")
    if config.compile and config.mode == "front" and config.front_way != "interpolated":
        raise ValueError(
            f"compile must be false with front_way {config.front_way}, whose weights change with the alpha of each "
            "batch; front_way interpolated can be compiled"
        )
