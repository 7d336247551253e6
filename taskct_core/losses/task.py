"""Task losses: how wrong the task network's logits are. MONAI's and PyTorch's, with our settings.

Each is called with logits ``(B, C, H, W)`` and integer labels ``(B, 1, H, W)``. The Dice terms are taken
slice by slice and averaged, so that a batch spread over workers has the same loss, and leave out the
background. One pixel of smoothing makes an absent structure cost nothing once none of it is predicted.
"""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch import nn

_OVERLAP = {
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


def cross_entropy() -> nn.Module:
    """Cross-entropy, mean over pixels."""
    return CrossEntropy()


def dice_cross_entropy() -> nn.Module:
    """Dice loss + cross-entropy, each with weight 1."""
    return DiceCELoss(**_OVERLAP)
