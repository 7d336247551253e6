"""ItNet-style: U-Net and data consistency in turn (Genzel et al. 2022, doi:10.1109/TPAMI.2022.3148324)."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.geometry import Geometry
from taskct_core.projection import RayTransform
from taskct_core.reconstructors.unet import ResidualUNet


class ItNet(nn.Module):
    """Each iteration cleans the image with one shared U-Net, then moves it towards the data by an FBP of the
    misfit. The last iteration ends with the U-Net, whose output is not made noisy again. 495,907 parameters
    at width 16.

    Args:
        width: channels of the U-Net at full resolution.
        iterations: U-Net evaluations (published: 4 or 5).
    """

    inputs = ("fbp", "sinogram")

    def __init__(self, geometry: Geometry, width: int = 16, iterations: int = 3) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError("iterations must be at least 1")
        self.transform = RayTransform(geometry)
        self.unet = ResidualUNet(width)
        self.step_sizes = nn.Parameter(torch.full((iterations - 1,), 0.1))

    def forward(self, fbp: torch.Tensor, sinogram: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.unet(fbp)
        for step_size in self.step_sizes:
            misfit = self.transform(image.contiguous()) - sinogram
            image = self.unet(image - step_size * self.transform.fbp(misfit))
        return image
