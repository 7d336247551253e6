"""Image losses: how far a reconstruction is from the full-dose image.

Every image loss is computed on images in percent of the normalised range, 100 * mu / mu_max.
"""

from __future__ import annotations

import torch
from pytorch_msssim import SSIM
from torch import nn

# A choice of unit, so that the image loss and the task loss are of one size. On images in [0, 1] a good
# MSE is about 3e-4 while CE + Dice is about 1, and the whole trade-off would hide at alpha < 0.001;
# in percent the same MSE is about 3.
PERCENT = 100.0


class ImageLoss(nn.Module):
    """A weighted sum of image losses, each given both images in percent."""

    def __init__(self, terms: list[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in terms]
        self.losses = nn.ModuleList([loss for _, loss in terms])

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        """``(B, 1, H, W)`` normalised attenuation, twice -> the mean loss of the batch."""
        pair = reconstruction * PERCENT, full_dose * PERCENT
        terms = [weight * loss(*pair) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(terms).sum()


class SSIMLoss(nn.Module):
    """1 - SSIM with the Gaussian window of Wang et al. 2004 (11 pixels, sigma 1.5), data range mu_max."""

    def __init__(self) -> None:
        super().__init__()
        self.ssim = SSIM(data_range=PERCENT, channel=1)

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        return 1 - self.ssim(reconstruction, full_dose)
