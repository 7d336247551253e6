"""MS-SSIM (Wang et al. 2003) as a loss, with as many of its five scales as the image has room for."""

from __future__ import annotations

import pytorch_msssim
import torch
from monai.metrics.regression import compute_ms_ssim
from torch import nn

from taskct_core.losses.image import PERCENT, SSIM_WINDOW, gaussian_window, require_window

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
SMALLEST_SIDES = (SSIM_WINDOW, 22, 44, 99, 161)  # pixels: what MONAI and pytorch-msssim accept


class MSSSIMLoss(nn.Module):
    """1 - MS-SSIM, data range mu_max.

    Images of ``SMALLEST_SIDES`` pixels have one, two, ... five scales. Of fewer than five, the weights are
    divided by their sum.
    """

    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", gaussian_window(), persistent=False)

    def forward(self, reconstruction: torch.Tensor, full_dose: torch.Tensor) -> torch.Tensor:
        weights = scale_weights(min(full_dose.shape[-2:]))
        if len(weights) == len(WEIGHTS):
            return 1 - pytorch_msssim.ms_ssim(reconstruction, full_dose, data_range=PERCENT, win=self.window)
        # pytorch-msssim (separable, so faster) insists on room for five scales; MONAI takes fewer.
        return (
            1
            - compute_ms_ssim(
                reconstruction, full_dose, spatial_dims=2, data_range=PERCENT, weights=weights
            ).mean()
        )


def scale_weights(side: int) -> list[float]:
    """Weights of the scales that an image of this shortest side has room for.

    Raises:
        ConfigError: if not even one has.
    """
    require_window(side)
    scales = sum(side >= smallest for smallest in SMALLEST_SIDES)
    used = WEIGHTS[:scales]
    return [weight / sum(used) for weight in used]
