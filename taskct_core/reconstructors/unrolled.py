"""What reconstructors with the projector inside share: a transform of norm one, a small update network."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.geometry import Geometry
from taskct_core.projection import RayTransform


class UnitNormTransform(nn.Module):
    """The ray transform divided by its norm, so that its adjoint maps residuals back at the image's scale."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.transform = RayTransform(geometry)
        self.norm = self.transform.norm()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, 1, H, W) -> (B, 1, A, D)``."""
        sinogram: torch.Tensor = self.transform(image)
        return sinogram / self.norm

    def adjoint(self, sinogram: torch.Tensor) -> torch.Tensor:
        """``(B, 1, A, D) -> (B, 1, H, W)``."""
        return self.transform.adjoint(sinogram) / self.norm

    def scale(self, sinogram: torch.Tensor) -> torch.Tensor:
        """A measured sinogram at the scale of this transform's output."""
        return sinogram / self.norm


def update_network(inputs: int, outputs: int, width: int) -> nn.Module:
    """Three convolutions with PReLU (Adler & Öktem 2018). The last starts at zero: no update."""
    last = nn.Conv2d(width, outputs, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    first, second = nn.Conv2d(inputs, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(first, nn.PReLU(width), second, nn.PReLU(width), last)
