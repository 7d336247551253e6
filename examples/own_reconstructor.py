"""A reconstructor of one's own: `--set trial.architecture=own_reconstructor:ThreeLayers`."""

import torch
from torch import nn


class ThreeLayers(nn.Module):
    """Called with what ``inputs`` names, float32 (B, 1, H, W) in normalised attenuation; returns the same shape.

    Args:
        width: from `trial.architecture_parameters`. An argument `geometry` would get the scan's geometry.
    """

    inputs = ("fbp",)  # or ("fbp", "sinogram"), ("sinogram",)

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, fbp: torch.Tensor) -> torch.Tensor:
        return fbp + self.layers(fbp)
