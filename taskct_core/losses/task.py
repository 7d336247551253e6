"""Task losses: how wrong the task network's logits are. MONAI's and PyTorch's, with our settings.

Each is called with logits ``(B, C, H, W)`` and integer labels ``(B, 1, H, W)``. The overlap terms are taken
slice by slice and averaged, so that a batch spread over workers has the same loss, and leave out the
background. One pixel of smoothing makes an absent structure cost nothing once none of it is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss, TverskyLoss
from torch import nn

_OVERLAP: dict[str, Any] = {
    "include_background": False,
    "to_onehot_y": True,
    "softmax": True,
    "smooth_nr": 1.0,
    "smooth_dr": 1.0,
}


class CrossEntropy(nn.Module):
    """Mean over pixels of the cross-entropy."""

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, labels[:, 0])


def dice() -> nn.Module:
    """1 - soft Dice, mean over liver and tumour."""
    return DiceLoss(**_OVERLAP)


def dice_cross_entropy() -> nn.Module:
    """Dice loss + cross-entropy, each with weight 1."""
    return DiceCELoss(**_OVERLAP)


def focal() -> nn.Module:
    """Focal loss with gamma 2 (Lin et al. 2017): pixels already right count little."""
    return FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0)


def tversky() -> nn.Module:
    """Tversky loss (Salehi et al. 2017) with missed pixels 0.7 and false ones 0.3, for small structures."""
    return TverskyLoss(**_OVERLAP, alpha=0.3, beta=0.7)


def weighted_dice_cross_entropy(class_weights: Sequence[float]) -> nn.Module:
    """For pre-training: Dice over the whole batch + cross-entropy, both with ``class_weights``."""
    return DiceCELoss(**_OVERLAP, batch=True, weight=torch.tensor(class_weights))
