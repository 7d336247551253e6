"""One training step: both losses, their gradients with respect to the image, and one backward pass.

Each loss is differentiated only as far as the reconstructed image; the mixed image gradient then goes
back through the reconstructor once. That is the gradient of the mixed loss exactly, and it yields both
gradient norms at no cost. Nothing here reads a value: what is measured stays on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed

from taskct_core.losses.mixing import Mixer, Number
from taskct_core.schema import GRADIENT_NORM_IMAGE, GRADIENT_NORM_TASK, LOSS, LOSS_IMAGE, LOSS_TASK
from taskct_core.training.measured import Measured

LossOfImage = Callable[[torch.Tensor], torch.Tensor]
GRADIENT_NORMS = {LOSS_IMAGE: GRADIENT_NORM_IMAGE, LOSS_TASK: GRADIENT_NORM_TASK}


@dataclass(frozen=True)
class ImageGradient:
    """What a step leaves for the reconstructor, and what it measured.

    Attributes:
        gradient: ``(B, 1, H, W)``, of the mixed loss with respect to the reconstruction.
        measured: the mixed loss, and the raw losses and gradient norms that were computed.
    """

    gradient: torch.Tensor
    measured: Measured


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
    weights = mixing_weights(used, mixer)

    gradients = []
    measured: Measured = {}
    for name, loss in used.items():
        gradient = image_gradient(weighted(weights[name], loss), image)
        gradients.append(gradient)
        measured |= {name: raw(loss), GRADIENT_NORMS[name]: gradient_norm(gradient) / weights[name]}
    mixed = torch.stack([weights[name] * measured[name] for name in used]).sum()
    return ImageGradient(torch.stack(gradients).sum(0), {LOSS: mixed, **measured})


def mixing_weights(used: dict[str, torch.Tensor], mixer: Mixer) -> dict[str, Number]:
    """The weight of each loss in this step, from the losses of all workers."""
    means = {name: mean_over_workers(loss) for name, loss in used.items()}
    both = mixer.weights(means.get(LOSS_IMAGE, 0.0), means.get(LOSS_TASK, 0.0))
    return dict(zip(GRADIENT_NORMS, both, strict=True))


def weighted(weight: Number, loss: torch.Tensor) -> torch.Tensor:
    """Their product in the loss's own precision, which a weight on the device has more of."""
    return loss * (weight.to(loss.dtype) if isinstance(weight, torch.Tensor) else weight)


def measure(reconstruction: torch.Tensor, losses: dict[str, LossOfImage]) -> Measured:
    """Both raw losses and gradient norms of an image, with no effect on anything that is trained.

    The task loss's network must be frozen: an evaluation in train mode would move its statistics.
    """
    image = reconstruction.detach().requires_grad_()
    measured: Measured = {}
    for name, loss_of in losses.items():
        loss = loss_of(image)
        measured |= {name: raw(loss), GRADIENT_NORMS[name]: gradient_norm(image_gradient(loss, image))}
    return measured


def raw(loss: torch.Tensor) -> torch.Tensor:
    """A loss as it is measured: float64, without its graph."""
    return loss.detach().double()


def image_gradient(loss: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Gradient of ``loss`` with respect to the leaf ``image``; parameters on the way accumulate theirs."""
    image.grad = None
    loss.backward()
    return torch.zeros_like(image) if image.grad is None else image.grad


def gradient_norm(gradient: torch.Tensor) -> torch.Tensor:
    """L2 norm over a sample's pixels of the gradient of that sample's own loss, mean over samples; float64.

    The loss is a mean over the batch, so times the batch size; the figure does not depend on it.
    """
    return (gradient.flatten(1).norm(dim=1).mean() * len(gradient)).double()


def mean_over_workers(value: torch.Tensor) -> torch.Tensor:
    """The mean of a scalar over the workers of a distributed run, so that all mix alike; else the scalar; float64."""
    value = value.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value.double()
