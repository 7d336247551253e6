"""One training step: both losses, their gradients with respect to the image, and one backward pass; means over steps.

Each loss is differentiated only as far as the reconstructed image; the mixed image gradient then goes
back through the reconstructor once. That is the gradient of the mixed loss exactly, and it yields both
gradient norms at no cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed

from taskct_core.losses.mixing import Mixer
from taskct_core.schema import GRADIENT_NORM_IMAGE, GRADIENT_NORM_TASK, LOSS_IMAGE, LOSS_TASK

LossOfImage = Callable[[torch.Tensor], torch.Tensor]
GRADIENT_NORMS = {LOSS_IMAGE: GRADIENT_NORM_IMAGE, LOSS_TASK: GRADIENT_NORM_TASK}


@dataclass(frozen=True)
class ImageGradient:
    """What a step leaves for the reconstructor, and what it measured.

    Attributes:
        gradient: ``(B, 1, H, W)``, of the mixed loss with respect to the reconstruction.
        loss: the mixed loss.
        measured: raw losses and gradient norms that were computed, by their schema column.
    """

    gradient: torch.Tensor
    loss: float
    measured: dict[str, float]


def differentiate(
    reconstruction: torch.Tensor, losses: dict[str, LossOfImage], mixer: Mixer
) -> ImageGradient:
    """Differentiate the mixed loss with respect to the image.

    A loss of weight zero is not evaluated. Parameters inside the task loss that require gradients
    accumulate theirs, already weighted.

    Args:
        reconstruction: ``(B, 1, H, W)``; cut off from its graph here.
        losses: ``LOSS_IMAGE`` and ``LOSS_TASK`` -> image -> scalar, a mean over the batch.
        mixer: gives their weights.
    """
    image = reconstruction.detach().requires_grad_()
    used_names = [name for name, is_used in zip(GRADIENT_NORMS, mixer.uses(), strict=True) if is_used]
    used = {name: losses[name](image) for name in used_names}
    means = {name: mean_over_workers(loss) for name, loss in used.items()}
    both_weights = mixer.weights(means.get(LOSS_IMAGE, 0.0), means.get(LOSS_TASK, 0.0))
    weights = dict(zip(GRADIENT_NORMS, both_weights, strict=True))

    gradients = []
    measured: dict[str, float] = {}
    for name, loss in used.items():
        gradient = image_gradient(weights[name] * loss, image)
        gradients.append(gradient)
        measured |= {name: loss.item(), GRADIENT_NORMS[name]: gradient_norm(gradient) / weights[name]}
    mixed = sum(weights[name] * measured[name] for name in used)
    return ImageGradient(torch.stack(gradients).sum(0), mixed, measured)


def measure(reconstruction: torch.Tensor, losses: dict[str, LossOfImage]) -> dict[str, float]:
    """Both raw losses and gradient norms of an image, with no effect on anything that is trained.

    The task loss's network must be frozen: an evaluation in train mode would move its statistics.
    """
    image = reconstruction.detach().requires_grad_()
    measured: dict[str, float] = {}
    for name, loss_of in losses.items():
        loss = loss_of(image)
        measured |= {name: loss.item(), GRADIENT_NORMS[name]: gradient_norm(image_gradient(loss, image))}
    return measured


def image_gradient(loss: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Gradient of ``loss`` with respect to the leaf ``image``; parameters on the way accumulate theirs."""
    image.grad = None
    loss.backward()
    return torch.zeros_like(image) if image.grad is None else image.grad


def gradient_norm(gradient: torch.Tensor) -> float:
    """L2 norm over a sample's pixels of the gradient of that sample's own loss, mean over samples.

    The loss is a mean over the batch, so times the batch size; the figure does not depend on it.
    """
    return (gradient.flatten(1).norm(dim=1).mean() * len(gradient)).item()


def mean_over_workers(value: torch.Tensor) -> float:
    """The mean of a scalar over the workers of a distributed run, so that all mix alike; else the scalar."""
    value = value.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return float(value.item())


class Means:
    """Means over samples of what the steps measured; each over the samples it was measured on."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self.samples = 0

    def add(self, measured: dict[str, float], samples: int) -> None:
        """Take in one step's figures, means over its ``samples``."""
        self.samples += samples
        for name, value in measured.items():
            self._sums[name] += samples * value
            self._counts[name] += samples

    def result(self) -> dict[str, float]:
        """The means, and ``samples``: how many there were in all."""
        return {name: self._sums[name] / self._counts[name] for name in self._sums} | {
            "samples": self.samples
        }
