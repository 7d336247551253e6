"""Image losses: how far a reconstruction is from the full-dose image.

Every image loss is computed on images in percent of the normalised range, 100 * mu / mu_max.
"""

from __future__ import annotations

import torch
from pytorch_msssim import SSIM, ssim
from torch import nn

from taskct_core.errors import ConfigError

# A choice of unit, so that the image loss and the task loss are of one size. On images in [0, 1] a good
# MSE is about 3e-4 while CE + Dice is about 1, and the whole trade-off would hide at alpha < 0.001;
# in percent the same MSE is about 3.
PERCENT = 100.0

SSIM_WINDOW = 11


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


class Charbonnier(nn.Module):
    """Mean of sqrt(error^2 + eps^2), eps = 0.1 %: an L1 loss that is smooth at zero (Lai et al. 2017)."""

    def __init__(self, eps: float = 0.1) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((reconstruction - full_dose) ** 2 + self.eps**2).mean()


class SSIMLoss(nn.Module):
    """1 - SSIM with the Gaussian window of Wang et al. 2004 (11 pixels, sigma 1.5), data range mu_max."""

    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", gaussian_window(), persistent=False)

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        require_window(min(full_dose.shape[-2:]))
        return 1 - ssim(reconstruction, full_dose, data_range=PERCENT, win=self.window)


def gaussian_window() -> torch.Tensor:
    """The window ``(1, 1, 1, 11)`` of pytorch-msssim, to be kept where the images are: it would make one a batch."""
    window: torch.Tensor = SSIM(win_size=SSIM_WINDOW, channel=1).win
    return window


def require_window(side: int) -> None:
    """Refuse images with a side that the SSIM window does not fit into."""
    if side < SSIM_WINDOW:
        raise ConfigError(
            f"SSIM losses need images of at least {SSIM_WINDOW} pixels a side",
            f"{side} pixels",
            "Use a larger preset, or mse, l1 or charbonnier.",
        )
