"""Which epoch of a trial is kept: the one that validation prefers, or the last."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch

from taskct_core.contracts.rows import SliceRow
from taskct_core.losses.mixing import Mixing, Weights
from taskct_core.schema import METRICS, VALIDATION_LOSS, VALIDATION_LOSS_IMAGE, VALIDATION_LOSS_TASK

Weighted = dict[str, dict[str, torch.Tensor]]  # network -> its state_dict


class KeptEpoch:
    """The best epoch so far and its weights.

    Args:
        keep: ``best`` by ``metric``, or ``last``.
        metric: a metric column, or ``validation_loss``: the trial's own objective on the validation split.
    """

    def __init__(self, keep: Literal["best", "last"], metric: str) -> None:
        self._keep = keep
        self._metric = metric
        self.epoch = 0
        self.rows: list[SliceRow] = []  # of the validation slices at that epoch
        self.weights: Weighted = {}
        self._best = math.inf

    def offer(self, epoch: int, scores: dict[str, Any], rows: list[SliceRow], weights: Weighted) -> None:
        """Keep this epoch if it is the better one; equals keep the earlier. A score that is NaN never wins."""
        cost = self._cost(scores)
        if self._keep == "last" or cost < self._best or not self.epoch:
            self.epoch, self.rows, self.weights = epoch, rows, copy.deepcopy(weights)
            self._best = math.inf if math.isnan(cost) else cost

    def forget(self) -> None:
        """Begin anew: what was kept so far was trained for another objective."""
        self.epoch, self.rows, self.weights, self._best = 0, [], {}, math.inf

    def _cost(self, scores: dict[str, Any]) -> float:
        value = float(scores.get(self._metric, math.nan))
        is_score = self._metric in METRICS and METRICS[self._metric].direction == "maximize"
        return -value if is_score else value

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, which ``torch.load(weights_only=True)`` reads."""
        return {"epoch": self.epoch, "rows": self.rows, "weights": self.weights, "best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.epoch, self.rows = state["epoch"], state["rows"]
        self.weights, self._best = state["weights"], state["best"]


class ValidationObjective:
    """The trial's objective on the validation split, the same for all of its epochs.

    ``share`` mixing divides each loss by its size; here by that of the first epoch, so that epochs compare.
    """

    def __init__(self, mixing: Mixing, alpha: float) -> None:
        self._mixing = mixing
        self._alpha = alpha
        self.scales: Weights | None = None

    def columns(self, loss_image: float, loss_task: float) -> dict[str, float]:
        """The validation losses of an epoch by column, mixed as the trial mixes them."""
        if self.scales is None:
            self.scales = max(loss_image, 1e-12), max(loss_task, 1e-12)
        weights = self._mixing.weights(self._alpha, self.scales)
        losses = (loss_image, loss_task)
        # A loss without weight may be NaN, such as the task loss of slices without labels.
        mixed = sum(weight * loss for weight, loss in zip(weights, losses, strict=True) if weight)
        return {VALIDATION_LOSS: mixed, VALIDATION_LOSS_IMAGE: loss_image, VALIDATION_LOSS_TASK: loss_task}
