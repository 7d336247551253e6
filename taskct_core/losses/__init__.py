"""The losses by name. Image losses compare reconstruction and full dose, task losses logits and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskct_core import registry
from taskct_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from taskct_core.losses.image import ImageLoss
    from taskct_core.task_networks.network import TaskNetwork

IMAGE_LOSSES = {
    "mse": "torch.nn:MSELoss",
    "l1": "torch.nn:L1Loss",
    "charbonnier": "taskct_core.losses.image:Charbonnier",
    "ssim": "taskct_core.losses.image:SSIMLoss",
    "ms_ssim": "taskct_core.losses.ms_ssim:MSSSIMLoss",
    "perceptual": "taskct_core.losses.perceptual:PerceptualLoss",
}
TASK_LOSSES = {
    "ce": "taskct_core.losses.task:CrossEntropy",
    "dice": "taskct_core.losses.task:dice",
    "dice_ce": "taskct_core.losses.task:dice_cross_entropy",
    "focal": "taskct_core.losses.task:focal",
    "tversky": "taskct_core.losses.task:tversky",
    "focal_tversky": "taskct_core.losses.lesions:FocalTversky",
    "lesion_dice_ce": "taskct_core.losses.lesions:LesionDiceCrossEntropy",
}
# They take probabilities as their target, too; a loss of one's own that does says so by ``takes_probabilities``.
PROBABILITY_LOSSES = ("ce", "dice", "dice_ce")


def parse_mix(text: str) -> list[tuple[float, str]]:
    """Read an image loss such as ``"mse"`` or ``"0.84*ms_ssim + 0.16*l1"`` as weights and names.

    Raises:
        ValueError: if it is not a sum of ``name`` or ``weight*name`` of known image losses.

    >>> parse_mix("0.84*ms_ssim + 0.16*l1")
    [(0.84, 'ms_ssim'), (0.16, 'l1')]
    """
    terms = []
    for term in text.split("+"):
        weight_text, star, name = term.rpartition("*")
        name = registry.known_name(name.strip(), IMAGE_LOSSES, "image loss")
        try:
            weight = float(weight_text) if star else 1.0
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"an image loss's weight must be a positive number, but got {weight_text!r} in {text!r}"
            )
        terms.append((weight, name))
    return terms


def build_image_loss(name: str, task_network: TaskNetwork | None = None) -> ImageLoss:
    """Build an image loss or a weighted mix of them; ``perceptual`` needs the frozen ``task_network``.

    Raises:
        ConfigError: if a loss cannot be built.
    """
    from taskct_core.losses.image import ImageLoss

    terms = [
        (weight, _build(part, IMAGE_LOSSES, "image loss", task_network=task_network))
        for weight, part in parse_mix(name)
    ]
    return ImageLoss(terms)


def build_task_loss(name: str, of_probabilities: bool = False) -> nn.Module:
    """Build a task loss: ``(logits (B, C, H, W), labels (B, 1, H, W)) -> scalar``; see ``task`` for probabilities.

    Args:
        name: of ``TASK_LOSSES``, or of one's own.
        of_probabilities: whether its targets will be probabilities ``(B, C, H, W)``.

    Raises:
        ConfigError: if it cannot be built, or is one's own and does not say that it takes such targets: it might read
            them as classes and give a number all the same.
    """
    loss = _build(name, TASK_LOSSES, "task loss")
    if (
        of_probabilities
        and name not in PROBABILITY_LOSSES
        and not getattr(loss, "takes_probabilities", False)
    ):
        raise ConfigError(
            "with task_target full_dose_probabilities, a task loss says that it takes probabilities",
            f"{name}, which does not",
            "If targets of float32 (B, C, H, W) are right for it, set its attribute takes_probabilities = True.",
        )
    return loss


def _build(name: str, family: dict[str, str], kind: str, **offered: object) -> nn.Module:
    """A loss by name; one of a user's own may be a plain function of two tensors."""
    from taskct_core.losses.plain import PlainLoss, is_plain_loss

    if name not in family and is_plain_loss(function := registry.load(name, family, kind), offered):
        return PlainLoss(function, name)
    return registry.build_module(name, family, kind, {}, **offered)
