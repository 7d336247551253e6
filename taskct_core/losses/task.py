"""Task losses: how wrong the task network's logits are. MONAI's and PyTorch's, with our settings.

Each is called with logits ``(B, C, H, W)`` and integer labels ``(B, 1, H, W)``; those of ``PROBABILITY_LOSSES`` also with
another network's probabilities ``(B, C, H, W)``, and are then least where the logits have the same. The overlap terms are
taken slice by slice and averaged, so that a batch spread over workers has the same loss, and leave out the background.
One pixel of smoothing makes an absent structure cost nothing once none of it is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss, TverskyLoss
from torch import nn

_OVERLAP: dict[str, Any] = {
    "include_background": False,
    "softmax": True,
    "smooth_nr": 1.0,
    "smooth_dr": 1.0,
}
_OF_CLASSES = _OVERLAP | {"to_onehot_y": True}
# Squares in the denominator (Milletari et al. 2016): without them certainty would overlap more than equality.
_OF_PROBABILITIES = _OVERLAP | {"squared_pred": True}


class OfEither(nn.Module):
    """A loss in two forms: for labels, and for probabilities."""

    def __init__(self, of_classes: nn.Module, of_probabilities: nn.Module) -> None:
        super().__init__()
        self.of_classes = of_classes
        self.of_probabilities = of_probabilities

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        form = self.of_probabilities if target.is_floating_point() else self.of_classes
        loss: torch.Tensor = form(logits, target)
        return loss


class CrossEntropy(nn.Module):
    """Mean over pixels of the cross-entropy."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, target if target.is_floating_point() else target[:, 0])


def dice() -> nn.Module:
    """1 - soft Dice, mean over liver and tumour."""
    return OfEither(DiceLoss(**_OF_CLASSES), DiceLoss(**_OF_PROBABILITIES))


def dice_cross_entropy() -> nn.Module:
    """Dice loss + cross-entropy, each with weight 1."""
    return OfEither(DiceCELoss(**_OF_CLASSES), DiceCELoss(**_OF_PROBABILITIES))


def focal() -> nn.Module:
    """Focal loss with gamma 2 (Lin et al. 2017): pixels already right count little."""
    return FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0)


def tversky() -> nn.Module:
    """Tversky loss (Salehi et al. 2017) with missed pixels 0.7 and false ones 0.3, for small structures."""
    return TverskyLoss(**_OF_CLASSES, alpha=0.3, beta=0.7)


def weighted_dice_cross_entropy(class_weights: Sequence[float]) -> nn.Module:
    """For pre-training: Dice over the whole batch + cross-entropy, both with ``class_weights``."""
    return DiceCELoss(**_OF_CLASSES, batch=True, weight=torch.tensor(class_weights))
