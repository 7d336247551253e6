"""How alpha mixes image loss and task loss. The three definitions are this project's own.

convex     (1 - alpha) L_image + alpha L_task
additive   L_image + alpha L_task
share      (1 - alpha) L_image / s_image + alpha L_task / s_task
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Number = Any  # a float, or a 0-dim tensor, which stays on its device
Weights = tuple[Number, Number]  # of the image loss, of the task loss

_MEMORY = 0.99  # of the running scales: about the last hundred steps
_SMALLEST = 1e-12  # scale that a loss is divided by


def _convex(alpha: float, scales: Weights) -> Weights:
    return 1 - alpha, alpha


def _additive(alpha: float, scales: Weights) -> Weights:
    return 1.0, alpha


def _share(alpha: float, scales: Weights) -> Weights:
    if alpha in (0, 1):  # a loss that stands alone is the whole, whatever its scale
        return 1 - alpha, alpha
    return (1 - alpha) / scales[0], alpha / scales[1]


@dataclass(frozen=True)
class Mixing:
    """One way to mix.

    Attributes:
        weights: (alpha, running scales of both losses) -> their weights.
        highest_alpha: above which it makes no sense.
        scales: whether it divides by running scales.
    """

    weights: Callable[[float, Weights], Weights]
    highest_alpha: float = 1.0
    scales: bool = False


MIXINGS: dict[str, Mixing] = {
    "convex": Mixing(_convex),
    "additive": Mixing(_additive, highest_alpha=math.inf),
    "share": Mixing(_share, scales=True),
}


class Mixer:
    """Gives the two losses' weights, and keeps the running scales that ``share`` divides by.

    Args:
        mixing: a key of ``MIXINGS``.
        alpha: in [0, ``highest_alpha``] of the mixing.

    >>> Mixer("convex", 0.25).weights(loss_image=3.0, loss_task=1.0)
    (0.75, 0.25)
    """

    def __init__(self, mixing: str, alpha: float) -> None:
        self.mixing = MIXINGS[mixing]
        self.alpha = alpha
        self.scales: Weights | None = None

    def uses(self) -> tuple[bool, bool]:
        """Whether the image loss and the task loss have any weight."""
        image, task = self.mixing.weights(self.alpha, (1.0, 1.0))
        return image > 0, task > 0

    def weights(self, loss_image: Number, loss_task: Number) -> Weights:
        """The weights of this step, given both raw losses (mean over all workers) where both are used.

        Losses that are tensors are not read: weights that depend on them are tensors, too.
        """
        if self.mixing.scales and all(self.uses()):
            self._observe(loss_image, loss_task)
        return self.mixing.weights(self.alpha, self.scales or (1.0, 1.0))

    def plain_scales(self) -> tuple[float, float] | None:
        """The running scales as floats, which go into a checkpoint; reads them where they are on a device."""
        return None if self.scales is None else (float(self.scales[0]), float(self.scales[1]))

    def _observe(self, loss_image: Number, loss_task: Number) -> None:
        seen = loss_image, loss_task
        old = self.scales or seen
        image, task = (_MEMORY * was + (1 - _MEMORY) * now for was, now in zip(old, seen, strict=True))
        self.scales = _at_least(image, _SMALLEST), _at_least(task, _SMALLEST)


def _at_least(value: Number, smallest: float) -> Number:
    return max(value, smallest) if isinstance(value, float) else value.clamp(min=smallest)
