"""The configuration of the task network and its pre-training."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Fraction, Positive, StrictModel
from taskct_core.hounsfield import LIVER_WINDOW_HU
from taskct_core.registry import name_of


class TaskNetworkConfig(StrictModel):
    """The segmentation network that judges reconstructions, and its pre-training."""

    architecture: Annotated[
        str, name_of("taskct_core.task_networks:TASK_NETWORKS", "task network architecture", own=True)
    ] = "unet"
    """A name, `torchscript`, or `package.module:Name`."""
    architecture_parameters: dict[str, Any] = {}
    """Of the architecture, such as `{width: 16}`."""
    weights: str | None = None
    """File of a trained state_dict: import it instead of pre-training."""
    window_hu: tuple[float, float] = LIVER_WINDOW_HU
    """What it sees: HU at 0 and at 1 of its input."""
    classes: Annotated[str, name_of("taskct_core.task_networks:CLASSES", "set of classes")] = "liver_tumour"
    """What it tells apart."""
    epochs: Count = 20
    """At most so many."""
    patience: Count = 10
    """Epochs without a better validation Dice before stopping."""
    batch_size: Count = 8
    """Slices in a step."""
    learning_rate: Positive = 3e-3
    """Of AdamW."""
    augmentation: bool = True
    """Whether training slices are turned, scaled, shifted and changed in brightness and noise."""
    class_weights: tuple[Positive, Positive, Positive] = (1.0, 1.0, 3.0)
    """Of background, liver and tumour in its loss."""
    tumour_share: Fraction = 0.3
    """Least share of slices with a tumour in a batch that has any."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of weights, order and augmentation."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.window_hu[0] < self.window_hu[1]:
            raise ValueError("window_hu must be (low, high) with low < high")
        return self

    @property
    def is_imported(self) -> bool:
        """Whether the network comes trained, from a file, and is not to be pre-trained."""
        return self.weights is not None or self.architecture == "torchscript"
